"""The search as a mixed-integer linear program, solved through PuLP with HiGHS (CBC without it).

Knows rows, constraints and solver statuses; knows nothing of models, recipes or what a column
means. Coefficients are scaled before solving and every answer is checked again unscaled, because a
solver's tolerance is absolute and parameter counts reach 1e11.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from assets.puzzle.program.candidates import Candidates

ROUNDING = 1e-9  # relative slack for sums of floats, where order of addition shows
_ULPS = 8  # of a bound, within which a whole number is at it
TOLERANCE = 1e-9  # of the solver, on rows scaled to coefficients of at most 1


@dataclass(frozen=True)
class Cut:
    """A linear condition over rows: lower ≤ Σ coefficients[r]·x_r ≤ upper."""

    coefficients: dict[int, float]
    lower: float = -math.inf
    upper: float = math.inf


@dataclass
class Program:
    """Which rows may be chosen together, apart from the limits: structure of the architecture."""

    candidates: Candidates
    excluded: set[int] = field(default_factory=set)
    groups: Sequence[Sequence[int]] = ()
    max_distinct: int | None = None
    cuts: list[Cut] = field(default_factory=list)


@dataclass(frozen=True)
class Solution:
    """Chosen rows (None: proven infeasible), the proven bound on the objective, and by whom."""

    rows: tuple[int, ...] | None
    bound: float
    proven: bool
    solver: str


def solve(
    program: Program,
    objective: np.ndarray,
    limits: dict[str, tuple[float, float]],
    *,
    time_limit: float | None = None,
    gap: float = 0.0,
) -> Solution:
    """Minimises Σ objective[r]·x_r over choices that cover every layer once and keep the limits.

    An answer that breaks a limit within the solver's tolerance only is cut off and the program
    solved again, so that what is returned keeps every limit exactly. `gap` is the share of the
    optimum within which an answer counts as proven.

    Raises:
        TimeoutError: the time limit (seconds) passed before any choice was found.
        RuntimeError: the solver failed, or its answers keep breaking the rules.
    """
    deadline = None if time_limit is None else time.monotonic() + time_limit
    refused: list[Cut] = []
    for _ in range(50):
        remaining = None if deadline is None else max(deadline - time.monotonic(), 0.01)
        solution = _solve_once(program, objective, limits, refused, remaining, gap)
        if solution.rows is None or not violations(program, solution.rows, limits):
            return solution
        refused.append(Cut(dict.fromkeys(solution.rows, 1.0), upper=len(solution.rows) - 1))
    raise RuntimeError(
        "the solver's answers keep breaking a rule by rounding: "
        + "; ".join(violations(program, solution.rows or (), limits))
    )


def violations(
    program: Program, rows: Sequence[int], limits: dict[str, tuple[float, float]]
) -> list[str]:
    """Every rule that a choice breaks, in words, computed from the table and not by the solver."""
    candidates = program.candidates
    found: list[str] = []
    covered = sorted(layer for row in rows for layer in candidates.covers[row])
    if covered != candidates.layers:
        found.append(f"layers covered {covered}, expected each of {candidates.layers} once")
    for row in rows:
        if row in program.excluded:
            found.append(f"{candidates.name(row)} is excluded")
    variant_at = {
        layer: candidates.variants[row] for row in rows for layer in candidates.covers[row]
    }
    for group in program.groups:
        if len({variant_at.get(layer) for layer in group}) > 1:
            found.append(f"group {list(group)} is not uniform")
    distinct = {candidates.variants[row] for row in rows}
    if program.max_distinct is not None and len(distinct) > program.max_distinct:
        found.append(f"{len(distinct)} distinct variants, at most {program.max_distinct}")
    for cut in program.cuts:
        value = math.fsum(cut.coefficients.get(row, 0.0) for row in rows)
        if not cut.lower - ROUNDING <= value <= cut.upper + ROUNDING:
            found.append(f"{value} outside [{cut.lower}, {cut.upper}] of a structural rule")
    for column, (lower, upper) in limits.items():
        total = candidates.total(column, rows)
        if column in candidates.integers:  # a bound may itself be a rounded product: 0.7 * 23,040
            above, below = (
                _ULPS * math.ulp(end) if math.isfinite(end) else 0.0 for end in (upper, lower)
            )
        else:
            above = below = ROUNDING * math.fsum(abs(candidates.columns[column][list(rows)]))
        if total > upper + above or total < lower - below:
            found.append(f"{column} is {total}, outside [{lower}, {upper}]")
    return found


def reachable(
    program: Program,
    column: str,
    bound: tuple[float, float],
    others: dict[str, tuple[float, float]],
) -> float | int | None:
    """The value of a column nearest to its bound that a choice keeping `others` reaches.

    The smallest total for an upper bound, the largest for a lower one, the least violation for an
    interval; None if no choice keeps `others`.
    """
    values = program.candidates.columns[column]
    lower, upper = bound
    attempts = []
    if upper < math.inf:
        attempts.append((values, (max(lower, -math.inf), math.inf)))
    if lower > -math.inf:
        attempts.append((-values, (-math.inf, upper)))
    best: float | int | None = None
    for objective, own in attempts:
        solution = solve(program, objective, {**others, column: own})
        if solution.rows is not None:
            total = program.candidates.total(column, solution.rows)
            if best is None or _outside(total, bound) < _outside(best, bound):
                best = total
    return best


def _outside(value: float, bound: tuple[float, float]) -> float:
    return max(bound[0] - value, value - bound[1], 0.0)


def _solve_once(
    program: Program,
    objective: np.ndarray,
    limits: dict[str, tuple[float, float]],
    refused: Sequence[Cut],
    time_limit: float | None,
    gap: float,
) -> Solution:
    import pulp

    scale = float(np.abs(objective).max()) or 1.0
    problem, variables = _build(program, objective / scale, limits, refused)
    if importlib.util.find_spec("highspy") is not None:
        rows, bound, proven = _run_highs(problem, variables, time_limit, gap)
        name = "HiGHS"
    else:
        # Without a thread count CBC runs in its own thread; worker threads were seen to stall.
        solver = pulp.PULP_CBC_CMD(msg=False, gapRel=gap, gapAbs=0, timeLimit=time_limit)
        rows, bound, proven = _run_cbc(problem, variables, solver)
        name = "CBC"
    return Solution(rows, bound * scale, proven, name)


def _build(
    program: Program,
    objective: np.ndarray,
    limits: dict[str, tuple[float, float]],
    refused: Sequence[Cut],
) -> tuple[Any, dict[int, Any]]:
    """PuLP's problem and its binary variable of each row that is not excluded."""
    candidates, rows = program.candidates, _Rows(program)
    rows.problem.setObjective(rows.expression(enumerate(objective)))
    for layer in candidates.layers:
        rows.add({row: 1.0 for of_one in rows.at[layer].values() for row in of_one}, 1, 1)
    for column, (lower, upper) in limits.items():
        rows.add(dict(enumerate(candidates.columns[column])), lower, upper)
    for group in program.groups:
        for layer in group[1:]:
            rows.alike(group[0], layer)
    if program.max_distinct is not None:
        rows.few_variants(program.max_distinct)
    for cut in [*program.cuts, *refused]:
        rows.add(cut.coefficients, cut.lower, cut.upper)
    return rows.problem, rows.variables


class _Rows:
    """A problem in the making: a variable for each candidate row, and constraints over them."""

    def __init__(self, program: Program) -> None:
        import pulp

        self.candidates = program.candidates
        self.problem = pulp.LpProblem("architecture", pulp.LpMinimize)
        self.variables = {
            row: pulp.LpVariable(f"x{row:06d}", cat="Binary")
            for row in range(len(self.candidates.variants))
            if row not in program.excluded
        }
        # By layer and variant, the rows that cover the layer.
        self.at: dict[int, dict[str, list[int]]] = {layer: {} for layer in self.candidates.layers}
        for row in self.variables:
            for layer in self.candidates.covers[row]:
                self.at[layer].setdefault(self.candidates.variants[row], []).append(row)

    def expression(self, coefficients: Any) -> Any:
        """The weighted sum of rows, those without a variable left out."""
        import pulp

        there = self.variables
        return pulp.LpAffineExpression(
            [(there[row], float(c)) for row, c in coefficients if row in there and c != 0]
        )

    def add(self, coefficients: dict[int, float], lower: float, upper: float) -> None:
        """lower <= the weighted sum <= upper, scaled to coefficients of 1 at most."""
        there = (abs(c) for row, c in coefficients.items() if row in self.variables)
        size = max(there, default=0) or 1.0
        scaled = self.expression((row, c / size) for row, c in coefficients.items())
        if lower == upper:
            self.problem.addConstraint(scaled == lower / size)
            return
        if upper < math.inf:
            self.problem.addConstraint(scaled <= upper / size)
        if lower > -math.inf:
            self.problem.addConstraint(scaled >= lower / size)

    def alike(self, first: int, other: int) -> None:
        """Two layers choose the same variant."""
        for variant in sorted(set(self.at[first]) | set(self.at[other])):
            difference = dict.fromkeys(self.at[first].get(variant, []), 1.0)
            for row in self.at[other].get(variant, []):
                difference[row] = difference.get(row, 0.0) - 1.0
            self.add(difference, 0, 0)

    def few_variants(self, most: int) -> None:
        """At most so many different variants are chosen."""
        import pulp

        names = sorted({self.candidates.variants[row] for row in self.variables})
        used = {
            name: pulp.LpVariable(f"z{index:06d}", cat="Binary") for index, name in enumerate(names)
        }
        self.problem.addConstraint(pulp.lpSum(used.values()) <= most)
        for layer in self.candidates.layers:
            for name, rows in self.at[layer].items():
                self.problem.addConstraint(
                    self.expression((row, 1.0) for row in rows) <= used[name]
                )


Outcome = tuple[tuple[int, ...] | None, float, bool]


def _chosen(variables: dict[int, Any]) -> tuple[int, ...]:
    return tuple(row for row, variable in variables.items() if (variable.value() or 0.0) > 0.5)


@functools.cache
def _swallow_banner() -> None:
    """Makes the first HiGHS object of the process, whose banner no option turns off, in silence."""
    import highspy

    kept = os.dup(1)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        highspy.Highs()
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _run_highs(
    problem: Any, variables: dict[int, Any], time_limit: float | None, gap: float
) -> Outcome:
    import highspy
    import pulp

    _swallow_banner()
    solver = pulp.HiGHS(
        msg=False,
        timeLimit=time_limit,
        gapRel=gap,
        gapAbs=0.0,
        threads=1,
        random_seed=0,
        mip_feasibility_tolerance=TOLERANCE,
        primal_feasibility_tolerance=TOLERANCE,
        dual_feasibility_tolerance=TOLERANCE,
    )
    problem.solve(solver)
    status = problem.solverModel.getModelStatus()
    info = problem.solverModel.getInfo()
    states = highspy.HighsModelStatus
    if status in (states.kInfeasible, states.kUnboundedOrInfeasible):
        return None, math.inf, True
    if status == states.kOptimal:
        return _chosen(variables), info.mip_dual_bound, True
    # PuLP reports any time-out as an integer-feasible optimum, even without an incumbent.
    if status == states.kTimeLimit:
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            raise TimeoutError("time limit reached before any architecture was found")
        return _chosen(variables), info.mip_dual_bound, False
    raise RuntimeError(
        f"HiGHS stopped with status {problem.solverModel.modelStatusToString(status)}"
    )


def _run_cbc(problem: Any, variables: dict[int, Any], solver: Any) -> Outcome:
    import pulp

    problem.solve(solver)
    if problem.sol_status == pulp.LpSolutionInfeasible:
        return None, math.inf, True
    if problem.sol_status == pulp.LpSolutionOptimal:
        return _chosen(variables), float(pulp.value(problem.objective) or 0.0), True
    if problem.sol_status == pulp.LpSolutionIntegerFeasible:
        rows = _chosen(variables)
        problem.solve(pulp.PULP_CBC_CMD(msg=False, mip=False))  # its relaxation bounds the optimum
        return rows, float(pulp.value(problem.objective) or 0.0), False
    raise TimeoutError("time limit reached before any architecture was found")
