"""Architecture search: one replacement per layer with the least objective within given limits.

Takes a table of candidates and gives back exact optima with their proof; knows nothing of models,
recipes or where scores and costs come from (Puzzle, arXiv 2411.19146 §3; diversity as in its §3.2,
many-to-one rows so that a fused run can compete with its layers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Unpack

import pyarrow as pa

from assets.puzzle.program.candidates import Bound
from assets.puzzle.program.rules import Rules, read_program
from assets.puzzle.program.solver import Cut, Program, Solution, reachable, solve, violations


@dataclass(frozen=True)
class Architecture:
    """A choice of one replacement per layer.

    Attributes:
        choice: the variant of each chosen row, in layer order.
        layers: the layers each chosen row covers, in the same order.
        objective: sum of the objective column.
        totals: sum of every numeric column; NaN where a chosen row has no value.
        gap: (objective - proven lower bound) / |objective|; 0 when proven.
        proven: whether the solver proved it optimal (False: best found within the time limit).
        solver: which solver answered.
    """

    choice: list[str]
    layers: list[tuple[int, ...]]
    objective: float
    totals: dict[str, float]
    gap: float
    proven: bool
    solver: str


class InfeasibleError(ValueError):
    """No choice keeps the limits.

    Attributes:
        tightest: limit → the value nearest to it that can be reached while the other limits hold,
            or, where the others alone already cannot hold, that can be reached without them. Empty
            when the rules other than limits contradict each other.
    """

    def __init__(self, message: str, tightest: dict[str, float]) -> None:
        super().__init__(message)
        self.tightest = tightest


def search(
    candidates: pa.Table,
    limits: Mapping[str, Bound],
    objective: str = "kl",
    *,
    time_limit: float | None = None,
    **rules: Unpack[Rules],
) -> Architecture:
    """The architecture with the least total objective within the limits.

    Args:
        candidates: columns `layer` (int, or list of ints when a row covers several layers),
            `variant` (str; sub-blocks joined by `/`, e.g. `noop/ratio_50`) and numeric columns.
        limits: column → upper bound, or (lower, upper) with None for an open end.
        objective: the column to minimise.
        time_limit: seconds; the best choice found by then is returned with `proven` False.
        rules: groups, max_distinct, max_noops, fixed, forbidden; see `Rules`.

    Raises:
        InfeasibleError: no choice keeps the limits; `.tightest` says what could be reached.
        ValueError: unusable candidates or rules (NaN or missing scores are named by layer and
            variant).
        TimeoutError: the time limit passed before any choice was found.
    """
    program, bounds = read_program(candidates, limits, objective, **rules)
    solution = solve(program, program.candidates.columns[objective], bounds, time_limit=time_limit)
    if solution.rows is None:
        raise infeasible(program, bounds)
    return architecture(program, solution, objective, bounds)


def search_many(
    candidates: pa.Table,
    limits: Mapping[str, Bound],
    objective: str = "kl",
    *,
    k: int,
    min_distance: int = 1,
    time_limit: float | None = None,
    **rules: Unpack[Rules],
) -> list[Architecture]:
    """Up to `k` architectures, best first, each differing from all earlier ones in some layers.

    Each is the best one that differs from every earlier one in at least `min_distance` layers
    (Σ_l [x_l = y_l] ≤ L - D); fewer than `k` come back when no more exist. `time_limit` holds for
    each. Other arguments and errors as in `search`.

    Raises:
        ValueError: k or min_distance below 1.
    """
    if k < 1 or min_distance < 1:
        raise ValueError(f"k and min_distance must be at least 1, got {k} and {min_distance}")
    program, bounds = read_program(candidates, limits, objective, **rules)
    read = program.candidates
    found: list[Architecture] = []
    while len(found) < k:
        solution = solve(program, read.columns[objective], bounds, time_limit=time_limit)
        if solution.rows is None:
            break
        found.append(architecture(program, solution, objective, bounds))
        same = {row: float(len(read.covers[row])) for row in solution.rows}
        program.cuts.append(Cut(same, upper=len(read.layers) - min_distance))
    if not found:
        raise infeasible(program, bounds)
    return found


def architecture(
    program: Program, solution: Solution, objective: str, bounds: dict[str, tuple[float, float]]
) -> Architecture:
    """A solution as an architecture, every rule and limit checked again from the table.

    Raises:
        RuntimeError: the solution breaks one.
    """
    candidates = program.candidates
    rows = sorted(solution.rows or (), key=lambda row: candidates.covers[row])
    broken = violations(program, rows, bounds)
    if broken:
        raise RuntimeError(f"the solver's answer breaks the rules: {'; '.join(broken)}")
    totals = {column: candidates.total(column, rows) for column in candidates.columns}
    value = totals[objective]
    gap = max(0.0, float(value - solution.bound)) / max(abs(value), 1e-12)
    return Architecture(
        choice=[candidates.variants[row] for row in rows],
        layers=[candidates.covers[row] for row in rows],
        objective=float(value),
        totals=totals,
        gap=0.0 if solution.proven else gap,
        proven=solution.proven,
        solver=solution.solver,
    )


def infeasible(program: Program, bounds: dict[str, tuple[float, float]]) -> InfeasibleError:
    """The error for a program without a choice, with the reachable value of each limit."""
    tightest: dict[str, float] = {}
    for column, bound in bounds.items():
        others = {name: other for name, other in bounds.items() if name != column}
        value = reachable(program, column, bound, others)
        if value is None:
            value = reachable(program, column, bound, {})
        if value is not None:
            tightest[column] = value
    if not tightest:
        return InfeasibleError(
            "no architecture keeps the rules, whatever the limits: check fixed, forbidden, groups, "
            "max_distinct, max_noops and which layers the candidates cover",
            {},
        )
    parts = [
        f"{column} within {_text(bound)} (reachable: {tightest[column]:g})"
        for column, bound in bounds.items()
        if column in tightest
    ]
    return InfeasibleError("no architecture keeps all limits: " + "; ".join(parts), tightest)


def _text(bound: tuple[float, float]) -> str:
    return f"[{bound[0]:g}, {bound[1]:g}]"
