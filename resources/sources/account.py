"""Rows accounted for: what was read, what was kept, and every rejected row with its reason.

Knows neither files nor formats; a source with too many rejected rows stops here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from warehouse.errors import RowsRejected

SHOWN = 200  # characters of a rejected value that are kept as evidence
EXAMPLES = 3
REJECTED = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("field", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
    ]
)


class SourceError(ValueError):
    """A source that cannot be used: one line with file, line or field and what would be right."""


@dataclass(frozen=True)
class Reject:
    """Why one row does not fit: the field, what stood there (as JSON), what would be right."""

    line: int
    field: str
    value: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Rows as read: those that fit, with the columns of their kind and `line`, and the others."""

    kept: pa.RecordBatch
    rejected: pa.RecordBatch

    @property
    def rows(self) -> int:
        """Rows read: kept and rejected."""
        return int(self.kept.num_rows + self.rejected.num_rows)


def shown(value: Any) -> str:
    """A value as evidence: its JSON, cut, never with what text cannot hold.

    >>> shown(["2", None])
    '["2", null]'
    """
    if isinstance(value, bytes):
        text = value[:SHOWN].decode("utf-8", "backslashreplace")
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def rejected_batch(file: str, rejects: list[Reject]) -> pa.RecordBatch:
    """Rejects of one file as rows of `REJECTED`."""
    return pa.record_batch(
        [
            pa.array([file] * len(rejects), pa.string()),
            pa.array([each.line for each in rejects], pa.int64()),
            pa.array([each.field for each in rejects], pa.string()),
            pa.array([each.value for each in rejects], pa.string()),
            pa.array([each.reason for each in rejects], pa.string()),
        ],
        schema=REJECTED,
    )


def _place(row: Mapping[str, str]) -> str:
    """The field that a reject names, before its reason; a whole row has none."""
    return f"{row['field']}: " if row["field"] else ""


@dataclass
class Account:
    """The running account of one source or shard, read from `path`.

    Rows in = kept + dropped + left. `left` counts rows that fit and were not wanted, by reason.
    """

    source: str
    path: str = ""
    kept: int = 0
    dropped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    rejected: list[pa.RecordBatch] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows read so far."""
        return self.kept + self.dropped + self.left.total()

    def add(self, batch: Batch) -> None:
        """Count a batch and keep its rejected rows."""
        self.kept += batch.kept.num_rows
        if batch.rejected.num_rows:
            self.reject(batch.rejected)

    def reject(self, rows: pa.RecordBatch) -> None:
        """Count rows of `REJECTED` as dropped."""
        self.dropped += rows.num_rows
        self.reasons.update(rows.column("reason").to_pylist())
        self.rejected.append(rows)

    def table(self) -> pa.Table:
        """Every rejected row, with the source's name."""
        found = pa.Table.from_batches(self.rejected, REJECTED)
        return found.add_column(0, "source", pa.array([self.source] * len(found), pa.string()))

    def summary(self) -> pa.Table:
        """The account as one row of the view `sources`."""
        return pa.table(
            {
                "source": [self.source],
                "rows_in": [self.kept + self.dropped],
                "kept": [self.kept],
                "dropped": [self.dropped],
            }
        )

    def settle(self, max_drop: float) -> None:
        """`judge` for a build: what it refuses goes into the view `rejected` (RowsRejected)."""
        try:
            self.judge(max_drop)
        except SourceError as error:
            raise RowsRejected(str(error), self.table()) from error

    def judge(self, max_drop: float) -> None:
        """Raise SourceError where more than the share `max_drop` was rejected, or nothing kept."""
        if self.rows == 0:
            where = f" in {self.path}" if self.path else ""
            raise SourceError(f"source {self.source}: 0 rows{where}; check path, split and files")
        if self.kept and self.dropped <= max_drop * self.rows:
            return
        examples = [
            f"{row['file']}:{row['line']}: {_place(row)}{row['reason']}, found {row['value']}"
            for batch in self.rejected[:EXAMPLES]
            for row in batch.slice(0, EXAMPLES).to_pylist()
        ]
        counts = ", ".join(
            f"{count} with {reason}" for reason, count in self.reasons.most_common(4)
        )
        rule = "none is usable" if not self.kept else f"max_drop allows {max_drop:.2%}"
        raise SourceError(
            f"source {self.source}: {self.dropped} of {self.rows} rows do not fit, {rule} "
            f"({counts}); such as {'; '.join(examples[:EXAMPLES])}"
        )
