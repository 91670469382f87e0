"""Other ways to choose an architecture, to be set against the search at equal limits.

Pure functions of a candidate table and the search's limits and rules; each gives row numbers, or
None where it ends outside the limits. Rows that cover several layers are left to the search.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import pyarrow as pa

from assets.puzzle.program.candidates import Bound
from assets.puzzle.program.rules import Rules, read_program
from assets.puzzle.program.solver import ROUNDING, Program, solve, violations

Rows = tuple[int, ...]
STEPS = 20  # proposals a layer before a random walk gives its choice
GAP = 1e-3  # parameters are counted so finely that the last of them would be searched for long


@dataclass(frozen=True)
class _Field:
    """A program as arrays: rows `[R]`, conditions `[C, R]` with their ends `[C]`."""

    program: Program
    bounds: dict[str, tuple[float, float]]
    scores: np.ndarray
    at: list[np.ndarray]
    amounts: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def excess(self, totals: np.ndarray) -> np.ndarray:
        """How far totals `[..., C]` lie outside, as shares of their bounds."""
        ends = np.where(np.isfinite(self.upper), self.upper, self.lower)
        size = np.maximum(np.abs(ends), 1e-12)
        over = np.maximum(totals - self.upper, self.lower - totals)
        return np.where(over > ROUNDING * size, over, 0.0) / size

    def used(self, rows: Sequence[int]) -> float:
        """How much of the upper limits rows take, as shares summed over the limits."""
        totals = self.amounts[:, list(rows)].sum(axis=1)
        limited = np.isfinite(self.upper)
        return float((totals[limited] / np.maximum(np.abs(self.upper[limited]), 1e-12)).sum())

    def kept(self, rows: Sequence[int]) -> Rows | None:
        """The rows in layer order if they break no rule."""
        chosen = tuple(sorted(rows, key=lambda row: self.program.candidates.covers[row]))
        return None if violations(self.program, chosen, self.bounds) else chosen


def marginal_greedy(
    candidates: pa.Table,
    limits: Mapping[str, Bound],
    objective: str = "kl",
    **rules: Unpack[Rules],
) -> Rows | None:
    """From the best row of every layer, the exchange with the least added score a saved share of
    the broken limits, until all are kept; then what still fits is improved, best gain first.

    Groups and `max_distinct` are not steered towards.
    """
    field = _field(candidates, limits, objective, rules)
    rows = np.array([layer[np.argmin(field.scores[layer])] for layer in field.at])
    choices = np.concatenate(field.at)
    where = np.concatenate([np.full(len(rows), at) for at, rows in enumerate(field.at)])
    for repairing in (True, False):
        while True:
            totals = field.amounts[:, rows].sum(axis=1)
            excess = field.excess(totals)
            if repairing and not excess.any():
                break
            changes = (field.amounts[:, choices] - field.amounts[:, rows[where]]).T
            after = field.excess(totals + changes).sum(axis=1)
            added = field.scores[choices] - field.scores[rows[where]]
            if repairing:
                saved = -_signed(field, changes, totals)
                useful = (after < excess.sum() - 1e-15) & (saved > 0)
                cost = np.where(useful, added / np.where(useful, saved, 1.0), np.inf)
            else:
                useful = (after == 0) & (added < 0)
                cost = np.where(useful, added, np.inf)
            if not useful.any():
                break
            pick = int(np.argmin(cost))
            rows[where[pick]] = choices[pick]
    return field.kept(rows.tolist())


def paper_greedy(
    candidates: pa.Table,
    limits: Mapping[str, Bound],
    objective: str = "kl",
    **rules: Unpack[Rules],
) -> Rows | None:
    """Puzzle's greedy baseline (arXiv 2411.19146): equal budgets a layer with roll-over.

    Layers in the order of their mean score, the easiest to replace first; each takes the best row
    within its equal share of what is left of every upper limit, and what it does not use is shared
    by the layers after it. Budgets are counted above the cheapest row of each layer, so that what
    the model costs besides its blocks is no layer's share.
    """
    field = _field(candidates, limits, objective, rules)
    upper = np.isfinite(field.upper)
    least = np.array([field.amounts[:, rows].min(axis=1) for rows in field.at])
    left = field.upper - least.sum(axis=0)
    order = sorted(
        range(len(field.at)), key=lambda at: (float(field.scores[field.at[at]].mean()), at)
    )
    chosen = []
    for number, at in enumerate(order):
        rows = field.at[at]
        share = left / (len(order) - number)
        asked = field.amounts[:, rows].T - least[at]
        over = np.where(upper, asked - share, 0.0)
        slack = ROUNDING * np.where(upper, np.abs(field.upper), 0.0)
        fits = (over <= slack).all(axis=1)
        cost = np.where(fits, field.scores[rows], np.inf) if fits.any() else over.max(axis=1)
        pick = int(np.argmin(cost))
        chosen.append(int(rows[pick]))
        left = left - asked[pick]
    return field.kept(chosen)


def max_parameters(
    candidates: pa.Table,
    limits: Mapping[str, Bound],
    objective: str = "kl",
    **rules: Unpack[Rules],
) -> Rows | None:
    """The most parameters within the limits, to a thousandth, whatever the scores (Puzzle's
    "max-params")."""
    asked = {"parameters": math.inf, **limits}
    field = _field(candidates, asked, objective, rules)
    sizes = field.program.candidates.columns["parameters"]
    rows = solve(field.program, -sizes, field.bounds, gap=GAP).rows
    return None if rows is None else field.kept(rows)


def best_uniform(
    candidates: pa.Table,
    limits: Mapping[str, Bound],
    objective: str = "kl",
    **rules: Unpack[Rules],
) -> Rows | None:
    """The best single variant for all layers, or two that are one step apart, spread evenly.

    Of such two, as many layers take the larger as the limits allow, so that the size lies as near
    the limits as that of other choices. A layer where the rules exclude the variant takes its best
    allowed row instead.
    """
    field = _field(candidates, limits, objective, rules)
    names = field.program.candidates.variants
    variants = dict.fromkeys(names[row] for rows in field.at for row in rows)
    alike = {variant: _everywhere(field, variant) for variant in variants}
    tried = [field.kept(rows) for rows in alike.values()]
    tried += [_spread(field, *pair) for pair in _steps(field, alike)]
    found = [(float(field.scores[list(rows)].sum()), rows) for rows in tried if rows is not None]
    return min(found)[1] if found else None


def _everywhere(field: _Field, variant: str) -> Rows:
    """Each layer's row of a variant, or its best one where the rules exclude that."""
    names = field.program.candidates.variants
    same = [[row for row in rows if names[row] == variant] or rows for rows in field.at]
    return tuple(int(min(rows, key=lambda row: field.scores[row])) for rows in same)


def _steps(field: _Field, alike: Mapping[str, Rows]) -> list[tuple[Rows, Rows]]:
    """Pairs (larger, smaller) of variants that differ in the size of one sub-block, none between
    them; a removed sub-block is no size of it."""
    sizes = {name: field.used(rows) for name, rows in alike.items()}
    parts = {name: tuple(name.split("/")) for name in alike}
    rows_of: dict[tuple[str | None, ...], list[str]] = {}
    for name, own in parts.items():
        for place, part in enumerate(own):
            if part != "noop":
                rest = tuple(None if at == place else each for at, each in enumerate(own))
                rows_of.setdefault(rest, []).append(name)
    found = []
    for group in rows_of.values():
        order = sorted(group, key=lambda name: -sizes[name])
        found += [(alike[one], alike[other]) for one, other in itertools.pairwise(order)]
    return found


def _spread(field: _Field, larger: Rows, smaller: Rows) -> Rows | None:
    """Evenly mixed, with the most of the larger that keeps the limits; None where none does."""
    layers = len(field.at)
    for count in range(layers - 1, 0, -1):
        takes = [(at + 1) * count // layers > at * count // layers for at in range(layers)]
        mixed = [
            one if take else other for one, other, take in zip(larger, smaller, takes, strict=True)
        ]
        if (rows := field.kept(mixed)) is not None:
            return rows
    return None


def random_choices(
    candidates: pa.Table,
    limits: Mapping[str, Bound],
    objective: str = "kl",
    *,
    count: int,
    seed: int,
    **rules: Unpack[Rules],
) -> list[Rows]:
    """`count` random choices that keep limits and rules; none where there are none.

    Each starts near the optimum of a random objective and walks: a random layer (or group) is given
    a random row wherever that keeps the limits; in the long run every choice that can be reached
    this way is equally likely. Then larger rows, in random order, use up what the limits leave, so
    that random choices are compared at the size of the others.
    """
    field = _field(candidates, limits, objective, rules)
    program, draw = field.program, np.random.default_rng(seed)
    names, layers = program.candidates.variants, program.candidates.layers
    grouped = {layer: list(group) for group in program.groups for layer in group}
    found = []
    for _ in range(count):
        lure = draw.uniform(size=len(field.scores))
        start = solve(program, lure, field.bounds, gap=GAP).rows
        if start is None:
            return []
        rows = dict(zip(layers, field.kept(start) or (), strict=True))
        for _ in range(STEPS * len(layers)):
            layer = layers[int(draw.integers(len(layers)))]
            options = field.at[layers.index(layer)]
            variant = names[options[int(draw.integers(len(options)))]]
            changed = _with(field, rows, grouped.get(layer, [layer]), variant)
            if field.kept(list(changed.values())) is not None:
                rows = changed
        found.append(_filled(field, rows, grouped, draw))
    return found


def _with(field: _Field, rows: dict[int, int], at: Iterable[int], variant: str) -> dict[int, int]:
    """The rows with a variant in some layers; a layer that has it not keeps its row."""
    read, changed = field.program.candidates, dict(rows)
    places = {layer: place for place, layer in enumerate(read.layers)}
    for layer in at:
        same = [row for row in field.at[places[layer]] if read.variants[row] == variant]
        changed[layer] = int(same[0]) if same else changed[layer]
    return changed


def _filled(
    field: _Field,
    rows: dict[int, int],
    grouped: Mapping[int, list[int]],
    draw: np.random.Generator,
) -> Rows:
    """Exchanges in random order that use more of the upper limits, until none is left."""
    read = field.program.candidates
    options = [
        (layer, read.variants[row])
        for layer, at in zip(read.layers, field.at, strict=True)
        for row in at
    ]
    grown = True
    while grown:
        grown = False
        for place in draw.permutation(len(options)):
            layer, variant = options[int(place)]
            changed = _with(field, rows, grouped.get(layer, [layer]), variant)
            before, after = (field.used(list(each.values())) for each in (rows, changed))
            if after > before + ROUNDING and field.kept(list(changed.values())) is not None:
                rows, grown = changed, True
    return tuple(rows.values())


def _signed(field: _Field, changes: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """What changes `[R, C]` add to the broken limits, as shares of their bounds, `[R]`."""
    above, below = totals > field.upper, totals < field.lower
    size = np.maximum(np.abs(np.where(above, field.upper, field.lower)), 1e-12)
    sign = np.where(above, 1.0, np.where(below, -1.0, 0.0))
    return changes @ (sign / np.where(above | below, size, 1.0))


def _field(
    candidates: pa.Table, limits: Mapping[str, Bound], objective: str, rules: Rules
) -> _Field:
    program, bounds = read_program(candidates, limits, objective, **rules)
    read = program.candidates
    program.excluded |= {row for row, cover in enumerate(read.covers) if len(cover) > 1}
    free = [row for row in range(len(read.variants)) if row not in program.excluded]
    at = [np.array([row for row in free if read.covers[row] == (layer,)]) for layer in read.layers]
    for layer, rows in zip(read.layers, at, strict=True):
        if not len(rows):
            raise ValueError(f"layer {layer} has no row of its own that the rules allow")
    amounts = [read.columns[column] for column in bounds]
    for cut in program.cuts:
        row = np.zeros(len(read.variants))
        row[list(cut.coefficients)] = list(cut.coefficients.values())
        amounts.append(row)
    ends = [*bounds.values(), *((cut.lower, cut.upper) for cut in program.cuts)]
    return _Field(
        program,
        bounds,
        read.columns[objective],
        at,
        np.array(amounts).reshape(len(ends), len(read.variants)),
        np.array([low for low, _ in ends]),
        np.array([high for _, high in ends]),
    )
