"""The rules of a search besides its limits, and the program that candidates, limits and rules make.

Knows candidate tables and names; knows nothing of solvers, recipes or what a column means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

import pyarrow as pa

from assets.puzzle.program.candidates import (
    Bound,
    Forbidden,
    forbidden_rows,
    read_candidates,
    read_limits,
)
from assets.puzzle.program.solver import Cut, Program


class Rules(TypedDict, total=False):
    """What may be chosen together; a rule that is None or absent does not bind.

    Attributes:
        groups: lists of layers that must all take the same variant.
        max_distinct: how many different variants may be used in all.
        max_noops: how many sub-blocks may be removed (`noop` parts of variants, and the attentions
            of fused runs).
        fixed: layer → the variant it must take.
        forbidden: variant names (for all layers), (layer, variant) pairs, or layer → variant(s).
    """

    groups: Sequence[Sequence[int]] | None
    max_distinct: int | None
    max_noops: int | None
    fixed: Mapping[int, str] | None
    forbidden: Forbidden | None


def read_program(
    table: pa.Table, limits: Mapping[str, Bound], objective: str, **rules: Unpack[Rules]
) -> tuple[Program, dict[str, tuple[float, float]]]:
    """The program of a candidate table under rules, and the limits as (lower, upper) pairs.

    Raises:
        ValueError: unusable candidates, limits or rules, named by layer and variant.
    """
    bounds = read_limits(limits)
    candidates = read_candidates(table, objective, bounds)
    groups = [list(group) for group in rules.get("groups") or () if group]
    for layer in [layer for group in groups for layer in group]:
        if layer not in candidates.layers:
            raise ValueError(f"group layer {layer} is not among layers {candidates.layers}")
    excluded = forbidden_rows(candidates, rules.get("forbidden"))
    for layer, variant in (rules.get("fixed") or {}).items():
        rows = candidates.rows_at(int(layer), [variant])
        if not rows:
            raise ValueError(f"fixed variant {variant!r} is not a candidate of layer {layer}")
        excluded |= set(candidates.rows_at(int(layer))) - set(rows)
    program = Program(candidates, excluded, groups, rules.get("max_distinct"))
    most = rules.get("max_noops")
    if most is not None:
        noops = {row: float(candidates.noops(row)) for row in range(len(candidates.variants))}
        program.cuts.append(Cut(noops, upper=most))
    return program, bounds
