"""What `search` costs, against bare PuLP + HiGHS on the same instances.

    python benchmarks/search_speed.py [--seeds 5]

Random instances of the sizes of a 70B and a 405B parent with three limits, each solved by both in
turn, to proven optimality. The bare program is the formulation alone: no checks of the table, no
check of the answer, the solver's own tolerances. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from assets.puzzle.search import search

SIZES = ((80, 54), (126, 54))
LIMITS = ("memory", "seconds", "parameters")


def instance(layers: int, variants: int, seed: int) -> tuple[pa.Table, dict[str, float]]:
    """Scores that fall with a variant's size, costs that grow with it, limits at 40 % of the mean
    cost of a random choice."""
    draw = np.random.default_rng(seed)
    size = draw.uniform(0, 1, (layers, variants))
    scores = draw.exponential(1, size.shape) * (1 - size)
    costs = {name: size * draw.uniform(0.5, 1.5, size.shape) for name in LIMITS}
    table = pa.table(
        {
            "layer": np.repeat(np.arange(layers), variants),
            "variant": [f"v{index}" for _ in range(layers) for index in range(variants)],
            "kl": scores.ravel(),
            **{name: values.ravel() for name, values in costs.items()},
        }
    )
    return table, {name: 0.4 * float(values.mean()) * layers for name, values in costs.items()}


def bare(table: pa.Table, limits: dict[str, float]) -> float:
    """The optimum by PuLP + HiGHS, proven to a gap of 0."""
    import pulp

    columns = {name: table[name].to_pylist() for name in ("layer", "kl", *limits)}
    problem = pulp.LpProblem("architecture", pulp.LpMinimize)
    chosen = [pulp.LpVariable(f"x{row}", cat="Binary") for row in range(table.num_rows)]
    problem += pulp.LpAffineExpression(zip(chosen, columns["kl"], strict=True))
    at: dict[int, list[pulp.LpVariable]] = {}
    for layer, variable in zip(columns["layer"], chosen, strict=True):
        at.setdefault(layer, []).append(variable)
    for variables in at.values():
        problem += pulp.lpSum(variables) == 1
    for name, most in limits.items():
        problem += pulp.LpAffineExpression(zip(chosen, columns[name], strict=True)) <= most
    problem.solve(pulp.HiGHS(msg=False, gapRel=0.0, gapAbs=0.0, threads=1))
    return float(pulp.value(problem.objective))


def measured(run: Callable[[], float]) -> tuple[float, float]:
    """(seconds, optimum) of one run."""
    began = time.perf_counter()
    value = run()
    return time.perf_counter() - began, value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    table, limits = instance(10, 54, 0)
    for run in (lambda: bare(table, limits), lambda: search(table, limits).objective):
        run()  # imports, and the solver's banner
    print(f"\n{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    print("| layers x variants | seed | bare (s) | `search` (s) | ratio |")
    print("|---|---|---|---|---|")
    for layers, variants in SIZES:
        times: list[tuple[float, float]] = []
        for seed in range(seeds):
            table, limits = instance(layers, variants, seed)
            runs = [
                lambda table=table, limits=limits: bare(table, limits),
                lambda table=table, limits=limits: search(table, limits).objective,
            ]
            # Each goes first in turn, so that neither profits from a warm machine.
            order = (0, 1) if seed % 2 == 0 else (1, 0)
            found = {place: measured(runs[place]) for place in order}
            if abs(found[0][1] - found[1][1]) > 1e-6 * max(abs(found[0][1]), 1):
                raise SystemExit(f"optima differ: bare {found[0][1]}, search {found[1][1]}")
            times.append((found[0][0], found[1][0]))
            print(_row(f"{layers} x {variants}", str(seed), *times[-1]))
        middle = [statistics.median(each) for each in zip(*times, strict=True)]
        print(_row(f"**{layers} x {variants}**", "median", *middle))


def _row(size: str, seed: str, alone: float, ours: float) -> str:
    return f"| {size} | {seed} | {alone:.2f} | {ours:.2f} | {ours / alone:.2f} |"


if __name__ == "__main__":
    main()
