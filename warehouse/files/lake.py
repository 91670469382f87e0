"""Tables as content-addressed Parquet parts: same rows, same bytes, shared between versions.

Rows with a `row_id` are bucketed and sorted by it, so that a changed row rewrites one part; other
tables keep their order. Streams: no table has to fit in memory. Knows no asset's meaning.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import WarehouseError, explained
from warehouse.files.filesystem import Files
from warehouse.files.verify import local_digest, readable
from warehouse.schemas import SCHEMAS, conform

BUCKET_ROWS = 8192  # most rows of a bucket on average, before the number of buckets doubles
PART_ROWS = 65536  # rows of a part of a table without row ids
MEMORY = 16 << 20  # bytes of Arrow data held before rows spill to disk
SPILLS = 256  # spill files: one for each first byte of a row id

Data: TypeAlias = pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]


class Lake:
    """Parquet parts below `lake/` of a home."""

    def __init__(self, files: Files) -> None:
        self.files = files

    @staticmethod
    def address(digest: str) -> str:
        """Where the part with this SHA-256 lies, relative to the home."""
        return f"lake/{digest[:2]}/{digest}.parquet"

    def write(self, name: str, asset_key: str, data: Data, spill: Path) -> dict[str, Any]:
        """Store a table; returns its manifest entry: columns, rows, bytes and parts in order.

        `spill` is a local scratch folder for tables larger than `MEMORY`. `WarehouseError` when a
        row id is missing or stands twice, or when a column does not fit the declared schema.
        """
        stream = _conformed(data, name, asset_key)
        first = next(stream)
        while first.num_rows == 0:  # only rows tell whether there are ids
            following = next(stream, None)
            if following is None:
                break
            first = following
        schema, where = first.schema, f"{asset_key}: table {name!r}"
        identified = "row_id" in schema.names and first.column("row_id").null_count < len(first)
        whole = itertools.chain([first], stream)
        tables = _bucketed(whole, where, spill) if identified else _ordered(whole)
        # By `map`, which unlike a loop's variable holds no part while the next is made.
        parts = list(map(partial(self._put, identified=identified), tables))
        if not parts:
            parts.append(self._put(schema.empty_table(), identified=False))
        return {
            "columns": [[field.name, str(field.type)] for field in schema],
            "rows": sum(part["rows"] for part in parts),
            "bytes": sum(part["bytes"] for part in parts),
            "parts": parts,
        }

    def _put(self, table: pa.Table, *, identified: bool) -> dict[str, Any]:
        table = table.combine_chunks()  # page boundaries follow chunks; one chunk, same bytes
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            compression="zstd",
            compression_level=3,
            version="2.6",
            data_page_version="1.0",
            row_group_size=PART_ROWS,
            use_dictionary=True,
            write_statistics=True,
        )
        data = sink.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        path = self.address(digest)
        if not self._sound(path, data.size, digest):
            self.files.write(path, memoryview(data), read_only=True)
        part: dict[str, Any] = {"sha256": digest, "rows": table.num_rows, "bytes": data.size}
        if identified:
            ids = table.column("row_id")
            part |= {"first": ids[0].as_py().hex(), "last": ids[-1].as_py().hex()}
        del table, data, sink
        pa.default_memory_pool().release_unused()  # else each part leaves the process larger
        return part

    def _sound(self, path: str, size: int, digest: str) -> bool:
        entry = self.files.entry(path)
        if entry is None or entry.size != size:
            return False
        local = self.files.local_path(path)
        return local is None or local_digest(local) == digest

    def _source(self, part: dict[str, Any], what: str) -> Any:
        return readable(self.files, self.address(part["sha256"]), part["sha256"], what)

    def table(self, entry: dict[str, Any], what: str, columns: list[str] | None = None) -> pa.Table:
        """All rows of a manifest entry, verified; `what` names the table in errors."""
        _known(entry, what, columns)
        tables = [
            pq.read_table(self._source(part, what), columns=columns, partitioning=None)
            for part in entry["parts"]
        ]
        return pa.concat_tables(tables)

    def batches(
        self, entry: dict[str, Any], what: str, columns: list[str] | None, batch_size: int
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a manifest entry in batches of at most `batch_size`, verified."""
        _known(entry, what, columns)
        for part in entry["parts"]:
            with pq.ParquetFile(self._source(part, what)) as file:
                yield from file.iter_batches(batch_size=batch_size, columns=columns)


def _known(entry: dict[str, Any], what: str, columns: list[str] | None) -> None:
    there = [name for name, _ in entry["columns"]]
    absent = [name for name in columns or [] if name not in there]
    if absent:
        raise WarehouseError(f"{what} has no column {absent[0]!r}; it has {', '.join(there)}")


def _conformed(data: Data, name: str, asset_key: str) -> Iterator[pa.Table]:
    """The data as tables of one schema; at least one, possibly empty."""
    schema = data.schema if isinstance(data, pa.Table | pa.RecordBatchReader) else None
    batches: Iterable[Any] = data.to_batches() if isinstance(data, pa.Table) else data
    agreed: pa.Schema | None = None
    for number, batch in enumerate(batches):
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        table = conform(table, name, asset_key)
        if agreed is None:
            agreed = table.schema
        elif table.schema != agreed:
            raise WarehouseError(
                f"{asset_key}: table {name!r}, batch {number} has columns "
                f"{_shown(table.schema)}, the first batch had {_shown(agreed)}"
            )
        yield table
    if agreed is None:
        schema = schema if schema is not None else SCHEMAS.get(name)
        if schema is None:
            raise WarehouseError(
                f"{asset_key}: table {name!r} is an empty stream without a schema; "
                "pass a pyarrow Table or RecordBatchReader"
            )
        yield conform(schema.empty_table(), name, asset_key)


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _ordered(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        while count >= PART_ROWS:
            whole = pa.concat_tables(held)
            yield whole.slice(0, PART_ROWS)
            held, count = [whole.slice(PART_ROWS)], count - PART_ROWS
    if count:
        yield pa.concat_tables(held)


def _bits(rows: int) -> int:
    """Bits of the row id that name its bucket: as few as keep buckets at `BUCKET_ROWS` rows."""
    bits = 0
    while bits < 16 and rows > BUCKET_ROWS << bits:
        bits += 1
    return bits


def _bucketed(tables: Iterator[pa.Table], where: str, spill: Path) -> Iterator[pa.Table]:
    """The buckets in order, each sorted; one of them in memory at a time."""
    held: list[pa.Table] = []
    size = rows = 0
    spilled: _Spill | None = None
    try:
        for table in tables:
            held.append(table)
            rows += table.num_rows
            size += table.nbytes
            if size > MEMORY:
                spilled = spilled or _Spill(spill, table.schema)
                spilled.add(held, where)
                size = 0
        bits = _bits(rows)
        if spilled is None:
            yield from _buckets(held, bits, where)
            return
        if held:
            spilled.add(held, where)
        yield from spilled.buckets(bits, where)
    finally:
        if spilled is not None:
            spilled.close()


def _ids(table: pa.Table) -> np.ndarray:
    """The row ids as unsigned bytes `[rows, 16]`."""
    ids = table.column("row_id").combine_chunks()
    if isinstance(ids, pa.ChunkedArray):
        ids = pa.concat_arrays(ids.chunks) if ids.num_chunks else pa.array([], ids.type)
    if len(ids) == 0:
        return np.zeros((0, 16), np.uint8)
    raw = np.frombuffer(ids.buffers()[1], np.uint8)
    return raw[ids.offset * 16 : (ids.offset + len(ids)) * 16].reshape(-1, 16)


def _order(table: pa.Table, where: str) -> np.ndarray:
    """Where the rows stand in the order of their ids."""
    ids = table.column("row_id")
    if ids.type != pa.binary(16):
        raise WarehouseError(f"{where}: row_id is {ids.type}, should be fixed_size_binary[16]")
    if ids.null_count:
        raise WarehouseError(f"{where}: {ids.null_count} rows have no row_id")
    halves = np.ascontiguousarray(_ids(table)).view(">u8").astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    halves = halves[order]
    twice = np.flatnonzero((halves[1:] == halves[:-1]).all(axis=1))
    if twice.size:
        name = ids[int(order[twice[0]])].as_py().hex()
        raise WarehouseError(
            f"{where}: row_id {name} stands twice ({twice.size + 1} such rows or more); an id "
            "needs a content, parents or sample index that tells its row apart"
        )
    return order


def _buckets(held: list[pa.Table], bits: int, where: str) -> Iterator[pa.Table]:
    """The rows sorted by id, cut where the first `bits` bits of it change; empties `held`."""
    table = _joined(held)
    order = _order(table, where)
    ids = _ids(table)[order]
    prefix = (ids[:, 0].astype(np.uint32) << 8 | ids[:, 1]) >> (16 - bits)
    cuts = [0, *(np.flatnonzero(np.diff(prefix.astype(np.int64))) + 1).tolist(), len(order)]
    for start, stop in itertools.pairwise(cuts):
        if stop > start:
            yield table.take(pa.array(order[start:stop]))


def _joined(held: list[pa.Table]) -> pa.Table:
    """The rows in one chunk; empties `held`, so that there is one copy of them."""
    table = pa.concat_tables(held).combine_chunks()
    held.clear()
    return table


class _Spill:
    """Rows waiting on disk, in one Arrow stream for each first byte of the row id."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema
        self.writers: dict[int, tuple[Any, Any]] = {}
        shutil.rmtree(folder, ignore_errors=True)
        with explained(f"write {folder}"):
            folder.mkdir(parents=True)

    def add(self, held: list[pa.Table], where: str) -> None:
        """Put rows by; empties `held`."""
        with explained(f"write {self.folder}"):
            for piece in _buckets(held, 8, where):
                byte = piece.column("row_id")[0].as_py()[0]
                if byte not in self.writers:
                    sink = pa.OSFile(str(self.folder / f"{byte:02x}"), "wb")
                    self.writers[byte] = (sink, pa.ipc.new_stream(sink, self.schema))
                self.writers[byte][1].write_table(piece)

    def buckets(self, bits: int, where: str) -> Iterator[pa.Table]:
        """The buckets of spilled rows; one that spans several files is put together of them."""
        with explained(f"write {self.folder}"):
            self._finish()
        span = SPILLS >> bits
        if span <= 1:
            for byte in range(SPILLS):
                yield from _buckets(self._read(byte), bits, where)
            return
        for start in range(0, SPILLS, span):
            pieces: list[pa.Table] = []
            for byte in range(start, start + span):
                pieces += _buckets(self._read(byte), 8, where)
            if pieces:
                yield _joined(pieces)

    def _read(self, byte: int) -> list[pa.Table]:
        path = self.folder / f"{byte:02x}"
        if not path.exists():
            return [self.schema.empty_table()]
        with pa.OSFile(str(path), "rb") as source:
            return [pa.ipc.open_stream(source).read_all()]

    def _finish(self) -> None:
        for sink, writer in self.writers.values():
            writer.close()
            sink.close()
        self.writers = {}

    def close(self) -> None:
        """Remove the spill files."""
        self._finish()
        shutil.rmtree(self.folder, ignore_errors=True)
