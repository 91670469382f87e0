"""Cuts that a person would make by hand: whole layers dropped, the least influential ones or some
in one piece.

The choices that a search has to beat at equal limits, and good places to start one from. Knows
programs and rows; influence and true KL come measured (`influence.py`, `rounds.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from assets.puzzle.choice.candidate_costs import PARENT
from assets.puzzle.program.solver import Program, violations

if TYPE_CHECKING:
    from assets.puzzle.choice.assemblies import Assembly
    from assets.puzzle.choice.rounds import Measure

Rows = tuple[int, ...]
Limits = dict[str, tuple[float, float]]
DROPPED = "noop/noop"
ROUNDING = 1e-4  # nats by which a sequence's KL may come out below 0


def parent_rows(program: Program) -> Rows:
    """The rows that leave every layer as it is. ValueError where a layer has none."""
    return tuple(_row(program, layer, PARENT) for layer in program.candidates.layers)


def by_influence(program: Program, bounds: Limits, influence: np.ndarray) -> Rows | None:
    """The fewest layers dropped that keep the limits, the least influential first.

    Args:
        influence: of every layer, `[L]`, in the order of the program's layers.

    None where the layers that may be dropped are not enough (ShortGPT, arXiv 2403.03853).
    """
    layers = program.candidates.layers
    order = [layers[place] for place in np.argsort(influence, kind="stable")]
    droppable = [layer for layer in order if _droppable(program, layer)]
    for count in range(len(droppable) + 1):
        rows = _without(program, droppable[:count])
        if not violations(program, rows, bounds):
            return rows
    return None


def in_one_piece(program: Program, bounds: Limits) -> list[Rows]:
    """Every run of neighbouring layers, as short as the limits allow, dropped; none where none does
    (arXiv 2403.17887)."""
    layers = program.candidates.layers
    for length in range(len(layers) + 1):
        found = []
        for start in range(len(layers) - length + 1):
            run = layers[start : start + length]
            if all(_droppable(program, layer) for layer in run):
                rows = _without(program, run)
                if not violations(program, rows, bounds):
                    found.append(rows)
        if found:
            return found if length else found[:1]
    return []


def contiguous(program: Program, bounds: Limits, parts: Sequence[Measure]) -> Rows | None:
    """The run of `in_one_piece` whose loss costs the least mean KL; None where there is none.

    Args:
        parts: true KL of each sequence `[n, N]`, of each part of the text.
    """
    runs = in_one_piece(program, bounds)
    if not runs:
        return None
    return runs[least([program.candidates.pieces(rows) for rows in runs], parts)]


def least(assemblies: Sequence[Assembly], parts: Sequence[Measure]) -> int:
    """Which of the assemblies has the least mean KL over all parts; the first of equal ones.

    KL is never negative: an assembly that on some parts comes to more than another on all of them
    is not measured on the rest. The answer is as if all were measured on everything.
    """
    first, *rest = parts
    known = [[kl] for kl in first(list(assemblies), "contiguous")]

    def total(place: int) -> float:
        return math.fsum(float(kl.sum()) for kl in known[place])

    def measure(places: Sequence[int], number: int, name: str) -> None:
        if places:
            found = rest[number]([assemblies[place] for place in places], name)
            for place, kl in zip(places, found, strict=True):
                known[place].append(kl)

    leader = min(range(len(assemblies)), key=total)
    for number in range(len(rest)):
        measure([leader], number, "contiguous_least")
    most = total(leader) + ROUNDING * sum(map(len, known[leader]))
    left = [place for place in range(len(assemblies)) if place != leader]
    for number in range(len(rest)):
        left = [place for place in left if total(place) <= most]
        measure(left, number, "contiguous_left")
    places = sorted([leader, *left])
    means = [float(np.concatenate(known[place]).mean()) for place in places]
    return places[int(np.argmin(means))]


def _without(program: Program, dropped: Iterable[int]) -> Rows:
    gone = set(dropped)
    return tuple(
        _row(program, layer, DROPPED if layer in gone else PARENT)
        for layer in program.candidates.layers
    )


def _droppable(program: Program, layer: int) -> bool:
    rows = program.candidates.rows_at(layer, [DROPPED])
    return any(row not in program.excluded for row in rows)


def _row(program: Program, layer: int, variant: str) -> int:
    read = program.candidates
    for row in read.rows_at(layer, [variant]):
        if read.covers[row] == (layer,):
            return row
    raise ValueError(f"layer {layer} has no candidate {variant!r}")
