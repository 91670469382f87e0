"""Row identity: 128-bit ids from what a row is and comes from, and its parents beside it.

Knows no table's meaning; ids depend on nothing but the arguments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

ROW_ID = pa.binary(16)
PARENTS = pa.list_(pa.struct([("row_id", pa.binary(16)), ("asset_key", pa.string())]))


def row_id(
    asset_key: str,
    content: str | bytes,
    parents: Sequence[bytes] = (),
    sample_index: int | None = None,
) -> bytes:
    """The 16-byte id of one row; see `row_ids`."""
    index = b"" if sample_index is None else str(int(sample_index)).encode()
    body = content.encode() if isinstance(content, str) else bytes(content)
    digest = hashlib.blake2b(digest_size=16, person=b"heirloom-row")
    for field in (asset_key.encode(), index, body):
        digest.update(len(field).to_bytes(8, "little"))
        digest.update(field)
    for parent in parents:
        if len(parent) != 16:
            raise ValueError(f"a parent's row id has 16 bytes, got {len(parent)}: {parent!r}")
        digest.update(parent)
    return digest.digest()


def row_ids(
    asset_key: str,
    contents: Sequence[str | bytes],
    parents: Sequence[Sequence[bytes]],
    sample_index: Sequence[int] | None = None,
) -> pa.Array:
    """Ids of rows, `binary(16)` `[rows]`: hash of asset key, parents' ids, sample index, content.

    `contents`, `parents` (16-byte ids, in order) and `sample_index` have one entry per row;
    ValueError when they do not.
    """
    lengths = {len(contents), len(parents)} | (
        set() if sample_index is None else {len(sample_index)}
    )
    if len(lengths) != 1:
        raise ValueError(f"contents, parents and sample_index differ in length: {sorted(lengths)}")
    indices: Sequence[int | None] = (
        sample_index if sample_index is not None else [None] * len(contents)
    )
    ids = [
        row_id(asset_key, content, ancestors, index)
        for content, ancestors, index in zip(contents, parents, indices, strict=True)
    ]
    return pa.array(ids, ROW_ID)


def with_ids(
    table: pa.Table,
    asset_key: str,
    content_columns: list[str],
    parents: pa.Array | pa.ChunkedArray | None = None,
    sample_index_column: str | None = None,
) -> pa.Table:
    """`table` with `row_id` put first and `parents` (type `PARENTS`) put last.

    The content of a row is the values of `content_columns`; `parents` has a list per row (None:
    rows without parents). Columns of those two names that are there already are replaced.
    """
    wanted = [*content_columns, *([sample_index_column] if sample_index_column else [])]
    absent = [name for name in wanted if name not in table.column_names]
    if absent:
        raise ValueError(f"{asset_key}: no column {absent[0]!r}; there are {table.column_names}")
    rows = table.num_rows
    if parents is None:
        parents = pa.array([[]] * rows, PARENTS)
    if isinstance(parents, pa.ChunkedArray):
        parents = parents.combine_chunks()
    if len(parents) != rows:
        raise ValueError(f"{asset_key}: {rows} rows but parents for {len(parents)}")
    parents = parents.cast(PARENTS)
    ancestors = [[p["row_id"] for p in entry or []] for entry in parents.to_pylist()]
    columns = [table.column(name).to_pylist() for name in content_columns]
    contents = (
        [_content(values) for values in zip(*columns, strict=True)] if columns else [""] * rows
    )
    index = table.column(sample_index_column).to_pylist() if sample_index_column else None
    ids = row_ids(asset_key, contents, ancestors, index)
    kept = table.select([n for n in table.column_names if n not in ("row_id", "parents")])
    return kept.add_column(0, pa.field("row_id", ROW_ID), ids).append_column(
        pa.field("parents", PARENTS), parents
    )


def with_derived_ids(table: pa.Table, asset_key: str, ids: pa.Array, parent_key: str) -> pa.Table:
    """`table` with ids and parents, where each row is the one row made from one row of an asset.

    `ids`, `binary(16)` `[rows]`, are the rows of `parent_key`. The same as `with_ids` without
    content, at a tenth of its cost.
    """
    begun = hashlib.blake2b(digest_size=16, person=b"heirloom-row")
    for field in (asset_key.encode(), b"", b""):
        begun.update(len(field).to_bytes(8, "little"))
        begun.update(field)
    raw = ids.buffers()[1].to_pybytes()[ids.offset * 16 : (ids.offset + len(ids)) * 16]
    made = bytearray()
    for start in range(0, len(raw), 16):
        one = begun.copy()
        one.update(raw[start : start + 16])
        made += one.digest()
    own = pa.FixedSizeBinaryArray.from_buffers(ROW_ID, len(ids), [None, pa.py_buffer(bytes(made))])
    keys = pa.repeat(pa.scalar(parent_key, pa.string()), len(ids))
    pairs = pa.StructArray.from_arrays([ids, keys], fields=list(PARENTS.value_type))
    parents = pa.ListArray.from_arrays(pa.array(range(len(ids) + 1), pa.int32()), pairs)
    kept = table.select([n for n in table.column_names if n not in ("row_id", "parents")])
    return kept.add_column(0, pa.field("row_id", ROW_ID), own).append_column(
        pa.field("parents", PARENTS), parents
    )


def parents_of(ids: Sequence[Sequence[bytes]], asset_keys: Sequence[Sequence[str]]) -> pa.Array:
    """A `PARENTS` array `[rows]` from, per row, the parents' ids and the assets they stand in."""
    pairs = [
        [{"row_id": i, "asset_key": k} for i, k in zip(row, keys, strict=True)]
        for row, keys in zip(ids, asset_keys, strict=True)
    ]
    return pa.array(pairs, PARENTS)


def _content(values: tuple[Any, ...]) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=False, default=_encode)


def _encode(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
