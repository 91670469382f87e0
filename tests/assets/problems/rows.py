"""Rows of the table `texts`, as a mixture of sources gives them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from warehouse.rows import with_ids
from warehouse.schemas import SCHEMAS

Turns = list[tuple[str, str]]


def texts(rows: Sequence[tuple[str, str | Turns, str]]) -> pa.Table:
    """A table of (source, text or turns, split)."""
    turns = SCHEMAS["texts"].field("messages").type
    table = pa.table(
        {
            "source": [source for source, _, _ in rows],
            "text": pa.array([t if isinstance(t, str) else None for _, t, _ in rows], pa.string()),
            "messages": pa.array(
                [
                    None if isinstance(t, str) else [{"role": r, "content": c} for r, c in t]
                    for _, t, _ in rows
                ],
                turns,
            ),
            "split": [split for _, _, split in rows],
            "bytes": [1] * len(rows),
            "text_hash": list(range(len(rows))),
            "license": ["mit"] * len(rows),
        }
    )
    return with_ids(table, "problems/corpus", ["text_hash"])
