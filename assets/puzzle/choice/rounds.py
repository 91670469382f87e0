"""Re-scoring: the search repeated around its own answer, or towards the limits in steps, without
training in between (after iterative Puzzle, arXiv 2607.04371).

Scores of single changes to the parent add up badly once many layers have changed. A round scores
every single change to the current architecture instead and searches near it, where those scores
hold. Knows programs and assemblies; knows nothing of recipes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assets.puzzle.calibration import Sequences
from assets.puzzle.choice.assemblies import Assembly, assembly_kl
from assets.puzzle.halves import Library
from assets.puzzle.program.solver import Cut, Program, solve

Rows = tuple[int, ...]
FEW = 4  # architectures tried by true KL at each distance
Measure = Callable[[list[Assembly], str], np.ndarray]  # what is measured, and its name


@dataclass(frozen=True)
class Round:
    """After a round: the rows, the sum of their scores, their true KL, and how many layers changed
    against the round before (0: nothing better was found)."""

    rows: Rows
    objective: float
    kl: float
    changed: int


def kl_with(
    library: Library,
    data: Sequences,
    folder: Path,
    *,
    batch: int = 32,
    progress: Callable[[str, float], None] | None = None,
) -> Measure:
    """The KL to the parent of assemblies on each sequence `[n, N]`; what is measured under a name
    is kept in a folder of that name."""

    def measure(assemblies: list[Assembly], name: str) -> np.ndarray:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        return assembly_kl(library, assemblies, data, batch=batch, folder=place, progress=progress)

    return measure


def kl_by_part(
    library: Library, data: Sequences, folder: Path, *, batch: int = 32, **how: Any
) -> list[Measure]:
    """`kl_with` of each batch of the sequences alone."""
    parts = enumerate(data.batches(batch))
    return [kl_with(library, p, folder / f"part_{n}", batch=batch, **how) for n, p in parts]


def mean_of(measure: Measure) -> Measure:
    """A measure's mean over sequences, `[n]`."""
    return lambda assemblies, name: measure(assemblies, name).mean(axis=1)


def improve(
    program: Program,
    scores: np.ndarray,
    bounds: dict[str, tuple[float, float]],
    start: Rows,
    measure: Measure,
    rounds: int,
    *,
    known: np.ndarray | None = None,
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
        known: δ of every row around another architecture, by which rows are left out (see
            `_Around.worth`); None: all are measured.
    """
    around = _Around(program, scores, start, measure)
    near = around.near
    found = [around.entry(start, float(around.kl([start], "round_0")[0]), start)]
    for number in range(1, rounds + 1):
        now = found[-1]
        near = around.worth(near, now, known, bounds)
        deltas = known = around.deltas(now, near, known, f"round_{number}_changes")
        tried = _nearest(near, deltas, bounds, now.rows, time_limit)
        kls = around.kl(tried, f"round_{number}_tried")
        pick = int(np.argmin(kls)) if tried else -1
        if pick < 0 or kls[pick] >= now.kl:
            found.append(replace(now, changed=0))
            break
        found.append(around.entry(tried[pick], float(kls[pick]), now.rows))
    return found


def descend(
    program: Program,
    scores: np.ndarray,
    bounds: dict[str, tuple[float, float]],
    start: Rows,
    measure: Measure,
    steps: int,
    *,
    known: np.ndarray | None = None,
    time_limit: float | None = None,
) -> list[Round]:
    """From `start`, the parent, to the limits in `steps` equal steps, scoring anew before each.

    A step's limits lie that share of the way between what the parent costs and the bounds. Of the
    few choices with the least Σ δ around the current architecture that keep them, the best by true
    KL is the next; the first entry is the start. Ends early where nothing keeps a step's limits.

    Args:
        scores: the objective of every row.
        measure: mean true KL of assemblies, named so that results can be kept.
        known: δ around `start` of every row where that was measured before: the parent's
            replace-1-block scores. Then a step measures only what the one before says is worth it.
    """
    around = _Around(program, scores, start, measure)
    near = around.near
    whole = {column: float(program.candidates.total(column, start)) for column in bounds}
    found = [around.entry(start, float(around.kl([start], "step_0")[0]), start)]
    for number in range(1, steps + 1):
        now = found[-1]
        limits = {
            column: _part_way(whole[column], ends, number / steps)
            for column, ends in bounds.items()
        }
        near = around.worth(near, now, known, bounds)
        if number == 1 and known is not None:
            deltas = known
        else:
            deltas = known = around.deltas(now, near, known, f"step_{number}_changes")
        tried = _least(near, deltas, limits, [], time_limit)
        if not tried:
            break
        kls = around.kl(tried, f"step_{number}_tried")
        pick = int(np.argmin(kls))
        found.append(around.entry(tried[pick], float(kls[pick]), now.rows))
    return found


class _Around:
    """Single changes to an architecture whose pieces cover what those of `start` cover."""

    def __init__(self, program: Program, scores: np.ndarray, start: Rows, measure: Measure) -> None:
        read = self.read = program.candidates
        self.scores, self.measure = scores, measure
        self.places = {read.covers[row]: place for place, row in enumerate(start)}
        elsewhere = {row for row, cover in enumerate(read.covers) if cover not in self.places}
        self.near = replace(program, excluded=program.excluded | elsewhere)

    def kl(self, choices: list[Rows], name: str) -> np.ndarray:
        """The mean true KL of each choice, `[n]`."""
        return self.measure([self.read.pieces(rows) for rows in choices], name)

    def worth(
        self,
        near: Program,
        now: Round,
        known: np.ndarray | None,
        bounds: dict[str, tuple[float, float]],
    ) -> Program:
        """The program without rows that another of the same layers beat by δ `known`, costing no
        more of what is bounded; those of `now` stay. All of it where nothing is known.

        Such a row is in no choice of the least Σ δ. Half of the measurements are saved, and no
        limit is out of reach for it: the cheapest row of a layer is beaten by none.
        """
        if known is None:
            return near
        columns = self.read.columns
        # Of a column with a lower bound, less is not better: it has to be the same.
        costs = [columns[name] for name, (_, high) in bounds.items() if np.isfinite(high)]
        exact = [columns[name] for name, (low, _) in bounds.items() if np.isfinite(low)]
        lost = set()
        for cover in self.places:
            rows = [
                row
                for row, other in enumerate(self.read.covers)
                if other == cover and row not in near.excluded
            ]
            lost |= {
                row
                for row in rows
                for other in rows
                if known[other] < known[row]
                and all(cost[other] <= cost[row] for cost in costs)
                and all(cost[other] == cost[row] for cost in exact)
            }
        return replace(near, excluded=near.excluded | (lost - set(now.rows)))

    def deltas(self, now: Round, near: Program, known: np.ndarray | None, name: str) -> np.ndarray:
        """What each row of `near` changes in the KL of `now`, `[R]`; 0 for its own. The others keep
        what is `known` of them, or have 0."""
        read = self.read
        changes = [
            row
            for row in range(len(read.variants))
            if row not in near.excluded and row not in now.rows
        ]
        swapped = [_with(now.rows, self.places[read.covers[row]], row) for row in changes]
        found = np.zeros(len(read.variants)) if known is None else known.copy()
        found[list(now.rows)] = 0.0
        found[changes] = self.kl(swapped, name) - now.kl
        return found

    def entry(self, rows: Rows, kl: float, before: Rows) -> Round:
        """The round that ends with these rows."""
        changed = sum(
            len(self.read.covers[one])
            for one, other in zip(rows, before, strict=True)
            if one != other
        )
        return Round(rows, math.fsum(self.scores[list(rows)]), kl, changed)


def _part_way(whole: float, ends: tuple[float, float], share: float) -> tuple[float, float]:
    """Bounds that share of the way from the parent's total; those that it keeps stay as they are.

    >>> _part_way(100.0, (-math.inf, 80.0), 0.25)
    (-inf, 95.0)
    """
    low, high = ends
    return (
        whole + (low - whole) * share if whole < low else low,
        whole + (high - whole) * share if whole > high else high,
    )


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
        close = replace(program, cuts=[*program.cuts, Cut(same, lower=len(read.layers) - radius)])
        found += _least(close, deltas, bounds, [now, *found], time_limit)
        radius //= 2
    return found


def _least(
    program: Program,
    deltas: np.ndarray,
    bounds: dict[str, tuple[float, float]],
    known: list[Rows],
    time_limit: float | None,
) -> list[Rows]:
    """The `FEW` choices with the least Σ δ within the bounds that are none of the known ones."""
    found: list[Rows] = []
    for _ in range(FEW):
        others = [Cut(dict.fromkeys(rows, 1.0), upper=len(rows) - 1) for rows in [*known, *found]]
        limited = replace(program, cuts=[*program.cuts, *others])
        rows = solve(limited, deltas, bounds, time_limit=time_limit).rows
        if rows is None:
            break
        found.append(tuple(sorted(rows, key=lambda row: program.candidates.covers[row])))
    return found


def _with(rows: Rows, place: int, row: int) -> Rows:
    return (*rows[:place], row, *rows[place + 1 :])
