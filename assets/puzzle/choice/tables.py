"""Chosen candidates as rows of tables, and back.

Knows candidate tables and the `architectures` table; knows nothing of how a choice was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from assets.puzzle.search import Architecture

Row = dict[str, Any]


def rows_of(candidates: pa.Table, found: Architecture) -> list[Row]:
    """The candidate rows of an architecture, in layer order."""
    rows = {(tuple(row["layer"]), row["variant"]): row for row in candidates.to_pylist()}
    return [rows[piece] for piece in zip(found.layers, found.choice, strict=True)]


def architecture_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row a layer of chosen candidates: those of a fused run have no attention, the run's FFN
    variant, and in `fused_into` the index of the layer that the run becomes."""
    return [
        {
            "layer": layer,
            "attention": row["attention"],
            "ffn": row["ffn"],
            "fused_into": index if len(row["layer"]) > 1 else None,
        }
        for index, row in enumerate(rows)
        for layer in row["layer"]
    ]


def chosen_rows(candidates: pa.Table, architectures: pa.Table) -> tuple[int, ...]:
    """The row numbers of the candidates that an `architectures` table stands for.

    Raises:
        ValueError: one of its blocks is not a candidate.
    """
    pieces: list[tuple[list[int], str, int | None]] = []
    for row in architectures.sort_by("layer").to_pylist():
        fused = row["fused_into"]
        if fused is not None and pieces and pieces[-1][2] == fused:
            pieces[-1][0].append(row["layer"])
            continue
        attention = row["attention"] if fused is None else "fused"
        pieces.append(([row["layer"]], f"{attention}/{row['ffn']}", fused))
    places = {
        (tuple(layers), variant): place
        for place, (layers, variant) in enumerate(
            zip(candidates["layer"].to_pylist(), candidates["variant"].to_pylist(), strict=True)
        )
    }
    missing = [(layers, name) for layers, name, _ in pieces if (tuple(layers), name) not in places]
    if missing:
        raise ValueError(f"layers {missing[0][0]}: '{missing[0][1]}' is not among the candidates")
    return tuple(places[tuple(layers), name] for layers, name, _ in pieces)


def architecture_table(
    model: str, rows: Sequence[Mapping[str, Any]], fused_into: Sequence[int | None] | None = None
) -> pa.Table:
    """The `architectures` rows of a model, in layer order; `fused_into` in the place of theirs."""
    fused = fused_into or [row.get("fused_into") for row in rows]
    return pa.table(
        {
            "model": [model] * len(rows),
            "layer": pa.array([row["layer"] for row in rows], pa.int64()),
            "attention": [row["attention"] for row in rows],
            "ffn": [row["ffn"] for row in rows],
            "fused_into": pa.array(fused, pa.int64()),
        }
    )
