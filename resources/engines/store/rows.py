"""A stored completion: as a row of a shard, and as a line of a journal.

Knows the forms and nothing of files. A row holds what an engine answered, what that took, and when.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from resources.engines.protocol import Completion

KEY = pa.binary(32)
SCHEMA = pa.schema(
    [
        pa.field("key", KEY, nullable=False),
        ("model", pa.string()),
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("prompt_ids", pa.list_(pa.int32())),
        ("finish_reason", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("logprobs", pa.list_(pa.float32())),
        ("seconds", pa.float64()),
        ("cost", pa.float64()),
        ("served", pa.string()),
        pa.field("created", pa.float64(), nullable=False),
        pa.field("scored", pa.bool_(), nullable=False),  # has log-probabilities
    ]
)
ANSWER = SCHEMA.names[2:-2]  # the columns that are a completion's own


@dataclass(frozen=True)
class Row:
    """A completion of the request `key` by `model`; `created` is seconds since 1970."""

    key: bytes
    model: str
    completion: Completion
    created: float

    @property
    def scored(self) -> bool:
        """Whether it has log-probabilities."""
        return self.completion.logprobs is not None


def single(values: Sequence[float] | None) -> list[float] | None:
    """Numbers as a shard holds them, so that every reader sees the same ones."""
    return None if values is None else np.asarray(values, dtype=np.float32).tolist()


def line(row: Row) -> bytes:
    """A row as a journal holds it: the checksum of the rest, JSON, and the end of the line."""
    answer = [getattr(row.completion, name) for name in ANSWER]
    values = [row.key.hex(), row.model, *answer, row.created]
    body = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def read_line(text: bytes) -> Row | None:
    """The row of a line; None for one that a kill or a full disk cut off."""
    checksum, _, body = text.rstrip(b"\n").partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(body):
            return None
        values: list[Any] = json.loads(body)
    except ValueError:
        return None
    key, model, *answer, created = values
    completion = Completion(**dict(zip(ANSWER, answer, strict=True)))
    return Row(bytes.fromhex(key), model, completion, created)


def table(rows: Iterable[Row]) -> pa.Table:
    """The rows of a shard, sorted by key, so that equal rows make an equal shard."""
    ordered = sorted(rows, key=lambda row: (row.key, row.created))
    columns: dict[str, list[Any]] = {
        **{n: [getattr(row, n) for row in ordered] for n in SCHEMA.names if n not in ANSWER},
        **{n: [getattr(row.completion, n) for row in ordered] for n in ANSWER},
    }
    return pa.table({n: pa.array(columns[n], SCHEMA.field(n).type) for n in SCHEMA.names}, SCHEMA)


def completions(found: pa.Table, *, logprobs: bool) -> list[Completion]:
    """The completions of a shard's rows, without log-probabilities where none are asked for."""
    nothing = [None] * found.num_rows
    columns = [
        found["text"].to_pylist(),
        _lists(found["token_ids"]),
        found["finish_reason"].to_pylist(),
        found["prompt_tokens"].to_pylist(),
        found["completion_tokens"].to_pylist(),
        _lists(found["logprobs"]) if logprobs else nothing,
        found["seconds"].to_pylist(),
        _lists(found["prompt_ids"]),
        found["cost"].to_pylist(),
        found["served"].to_pylist(),
    ]
    return [
        Completion(text, ids, reason, asked, made, scores, seconds, prompt or [], cost, served)
        for text, ids, reason, asked, made, scores, seconds, prompt, cost, served in zip(
            *columns, strict=True
        )
    ]


def _lists(column: pa.ChunkedArray) -> list[Any]:
    """A list column as Python lists; made of the flat values at once, which is ten times faster."""
    found: list[Any] = []
    for chunk in column.chunks:
        ends = chunk.offsets.to_numpy()
        values = chunk.values.to_numpy(zero_copy_only=False).tolist()
        lists = [values[a:b] for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        if chunk.null_count:
            there = chunk.is_valid().to_pylist()
            lists = [each if valid else None for each, valid in zip(lists, there, strict=True)]
        found += lists
    return found
