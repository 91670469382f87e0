"""Re-scoring rounds: the search repeated around its own answer, without training in between (after
iterative Puzzle, arXiv 2607.04371).

Scores of single changes to the parent add up badly once many layers have changed. A round scores
every single change to the current architecture instead and searches near it, where those scores
hold. Knows programs and assemblies; knows nothing of recipes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.puzzle.assemblies import Assembly, assembly_kl
from assets.puzzle.calibration import Sequences
from assets.puzzle.halves import Library
from assets.puzzle.milp import Cut, Program, solve

Rows = tuple[int, ...]
FEW = 4  # architectures tried by true KL at each distance
Measure = Callable[[list[Assembly], str], np.ndarray]


@dataclass(frozen=True)
class Round:
    """After a round: the rows, the sum of their scores, their true KL, and how many layers changed
    against the round before (0: nothing better was found)."""

    rows: Rows
    objective: float
    kl: float
    changed: int


def measure_with(
    library: Library,
    data: Sequences,
    folder: Path,
    *,
    batch: int = 32,
    progress: Callable[[str, float], None] | None = None,
) -> Measure:
    """The mean KL to the parent of assemblies `[n]`; what is measured under a name is kept in a
    folder of that name."""

    def measure(assemblies: list[Assembly], name: str) -> np.ndarray:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        values = assembly_kl(
            library, assemblies, data, batch=batch, folder=place, progress=progress
        )
        return values.mean(axis=1)

    return measure


def improve(
    program: Program,
    scores: np.ndarray,
    bounds: dict[str, tuple[float, float]],
    start: Rows,
    measure: Measure,
    rounds: int,
    *,
    time_limit: float | None = None,
) -> list[Round]:
    """At most `rounds` rounds from `start`; the first entry is the start itself.

    For the current architecture x and every allowed row v of the same layers as one of x's rows,
    δ_v = KL(parent ‖ x with v) - KL(parent ‖ x). The few architectures with the least Σ δ that keep
    the limits are found within ⌈L/4⌉ changed layers of x, within half of that, and so on down to
    one: the nearer, the better the δ add up. The best of them by true KL is the next x; a round
    that finds nothing better is the last. Runs that the search fused stay runs.

    Args:
        scores: the objective of every row.
        measure: mean true KL of assemblies, named so that results can be kept.
    """
    read = program.candidates

    def assembly(rows: Rows) -> Assembly:
        return [(read.covers[row], read.variants[row]) for row in rows]

    def entry(rows: Rows, kl: float, changed: int) -> Round:
        return Round(rows, math.fsum(scores[list(rows)]), kl, changed)

    places = {read.covers[row]: place for place, row in enumerate(start)}
    elsewhere = {row for row, cover in enumerate(read.covers) if cover not in places}
    near = replace(program, excluded=program.excluded | elsewhere)
    found = [entry(start, float(measure([assembly(start)], "round_0")[0]), 0)]
    for number in range(1, rounds + 1):
        now = found[-1]
        changes = [
            row
            for row in range(len(read.variants))
            if row not in near.excluded and row not in now.rows
        ]
        swapped = [_with(now.rows, places[read.covers[row]], row) for row in changes]
        values = measure([assembly(rows) for rows in swapped], f"round_{number}_changes")
        deltas = np.zeros(len(read.variants))
        deltas[changes] = values - now.kl
        tried = _nearest(near, deltas, bounds, now.rows, time_limit)
        kls = measure([assembly(rows) for rows in tried], f"round_{number}_tried")
        pick = int(np.argmin(kls)) if tried else -1
        if pick < 0 or kls[pick] >= now.kl:
            found.append(replace(now, changed=0))
            break
        changed = sum(
            len(read.covers[one])
            for one, other in zip(tried[pick], now.rows, strict=True)
            if one != other
        )
        found.append(entry(tried[pick], float(kls[pick]), changed))
    return found


def rounds_table(model: str, rounds: list[Round]) -> pa.Table:
    """The `rounds` rows of a model, from round 0, the search's own answer."""
    return pa.table(
        {
            "model": [model] * len(rounds),
            "round": pa.array(range(len(rounds)), pa.int64()),
            "objective": [each.objective for each in rounds],
            "kl": [each.kl for each in rounds],
            "changed": pa.array([each.changed for each in rounds], pa.int64()),
        }
    )


def _nearest(
    program: Program,
    deltas: np.ndarray,
    bounds: dict[str, tuple[float, float]],
    now: Rows,
    time_limit: float | None,
) -> list[Rows]:
    """The `FEW` choices with the least Σ δ within each radius of `now`, which is none of them."""
    read = program.candidates
    same = {row: float(len(read.covers[row])) for row in now}
    found: list[Rows] = []
    radius = -(-len(read.layers) // 4)
    while radius:
        close = Cut(same, lower=len(read.layers) - radius)
        for _ in range(FEW):
            known = [Cut(dict.fromkeys(rows, 1.0), upper=len(rows) - 1) for rows in [now, *found]]
            limited = replace(program, cuts=[*program.cuts, close, *known])
            rows = solve(limited, deltas, bounds, time_limit=time_limit).rows
            if rows is None:
                break
            found.append(tuple(sorted(rows, key=lambda row: read.covers[row])))
        radius //= 2
    return found


def _with(rows: Rows, place: int, row: int) -> Rows:
    return (*rows[:place], row, *rows[place + 1 :])
