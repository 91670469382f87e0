"""The first rows of a table as Markdown, for the run's page in Dagster.

Knows artifacts; knows nothing of Dagster.
"""

from __future__ import annotations

import itertools
from typing import Any

from warehouse.store import Artifact

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 100


def preview(artifact: Artifact, table: str, rows: int = PREVIEW_ROWS) -> str:
    """The first rows of a table in Markdown, long cells cut, ids and hashes as hex."""
    batch = next(iter(artifact.batches(table, batch_size=rows)), None)
    if batch is None or not batch.num_rows:
        return "(no rows)"
    names = batch.schema.names
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in itertools.islice(batch.to_pylist(), rows):
        lines.append("| " + " | ".join(_cell(row[name]) for name in names) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        text = value.hex()
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = str(value)
    if len(text) > PREVIEW_CHARACTERS:
        text = text[: PREVIEW_CHARACTERS - 1] + "…"
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", "⏎")
