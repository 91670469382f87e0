"""The Pareto front of a cost column against the objective, exact at each of its points.

Knows candidate tables and the search; knows nothing of models or recipes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Unpack

import numpy as np
import pyarrow as pa

from assets.puzzle.program.candidates import Bound
from assets.puzzle.program.rules import Rules, read_program
from assets.puzzle.program.solver import reachable, solve
from assets.puzzle.search import architecture, infeasible


def pareto(
    candidates: pa.Table,
    column: str,
    points: int,
    objective: str,
    limits: Mapping[str, Bound],
    *,
    time_limit: float | None = None,
    **rules: Unpack[Rules],
) -> pa.Table:
    """Least objective at `points` evenly spaced upper bounds on a column, tightest first.

    From the least total that can be reached to that of the best architecture without a bound on
    the column (the parent, where the other limits let it through). A limit on the column itself
    is left out. Columns: bound, value (the column's total), objective, proven.

    Raises:
        InfeasibleError: the other limits cannot be kept.
        ValueError: as of `search`, or fewer than one point.
    """
    if points < 1:
        raise ValueError(f"a front needs at least one point, got {points}")
    others = {name: limit for name, limit in limits.items() if name != column}
    asked = {**others, column: math.inf}
    program, bounds = read_program(candidates, asked, objective, **rules)
    scores = program.candidates.columns[objective]
    kept = {name: bound for name, bound in bounds.items() if name != column}
    least = reachable(program, column, (-math.inf, -math.inf), kept)
    free = solve(program, scores, kept, time_limit=time_limit)
    if least is None or free.rows is None:
        raise infeasible(program, bounds)
    most = program.candidates.total(column, free.rows)
    rows = []
    for bound in np.linspace(float(least), float(most), points):
        limited = {**kept, column: (-math.inf, float(bound))}
        found = architecture(
            program, solve(program, scores, limited, time_limit=time_limit), objective, limited
        )
        rows.append(
            {
                "bound": float(bound),
                "value": float(found.totals[column]),
                "objective": found.objective,
                "proven": found.proven,
            }
        )
    return pa.Table.from_pylist(rows)
