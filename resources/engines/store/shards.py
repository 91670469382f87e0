"""Shards: immutable Parquet files of completions, each named by the SHA-256 of its bytes.

They lie below a local folder or on an object store. Knows rows and files; which shard holds a key
is `index.py`'s matter.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from resources.engines.protocol import Completion
from resources.engines.store.rows import SCHEMA, Row, completions, table
from warehouse.errors import WarehouseError
from warehouse.files.filesystem import Files

FOLDER = "shards"
MOST = 1024  # completions of a shard
_DIGEST = re.compile(r"[0-9a-f]{64}")
HELD_BYTES = 64 << 20  # of shards that stay decoded in memory


class Shards:
    """The shards of one store."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self._held: OrderedDict[str, pa.Table] = OrderedDict()

    @staticmethod
    def address(digest: str) -> str:
        """Where a shard lies in the store."""
        return f"{FOLDER}/{digest[:2]}/{digest}.parquet"

    def present(self) -> set[str]:
        """The digests of all shards; what a kill left half-written is none."""
        entries = self.files.entries(FOLDER, ".parquet")
        names = (entry.path.rpartition("/")[2].removesuffix(".parquet") for entry in entries)
        return {name for name in names if _DIGEST.fullmatch(name)}

    def publish(self, rows: Iterable[Row]) -> str:
        """Write one shard; returns its digest. It is visible whole or not at all."""
        sink = io.BytesIO()
        pq.write_table(table(rows), sink, compression="zstd", version="2.6")
        data = sink.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        if self.files.entry(self.address(digest)) is None:
            self.files.write(self.address(digest), data, read_only=True)
        return digest

    def keys(self, digest: str) -> pa.Table:
        """Key, time and whether there are log-probabilities, of every row of a shard."""
        return self._read(digest, ["key", "created", "scored"])

    def take(
        self, digest: str, places: Sequence[int], keys: Sequence[bytes], *, logprobs: bool
    ) -> list[Completion]:
        """The completions at some rows of a shard, which must be those of `keys`."""
        found = self._whole(digest).take(pa.array(places, pa.int32()))
        if found["key"].to_pylist() != list(keys):
            raise WarehouseError(f"{self._where(digest)}: the key index does not fit this shard")
        return completions(found, logprobs=logprobs)

    def _whole(self, digest: str) -> pa.Table:
        known = self._held.pop(digest, None)
        if known is None:
            known = self._read(digest).combine_chunks()
        self._held[digest] = known
        while len(self._held) > 1 and sum(each.nbytes for each in self._held.values()) > HELD_BYTES:
            self._held.popitem(last=False)
        return known

    def _read(self, digest: str, columns: list[str] | None = None) -> pa.Table:
        data = self.files.read(self.address(digest))
        if data is None:
            raise WarehouseError(f"{self._where(digest)}: a shard of requests is gone")
        if hashlib.sha256(data).hexdigest() != digest:
            raise WarehouseError(
                f"{self._where(digest)}: this shard of requests is damaged; move it away, and what "
                "it held is asked for again"
            )
        # Not a data set's reading: its threads would wait for each other's turn on small files.
        found = pq.ParquetFile(pa.BufferReader(data)).read(columns=columns, use_threads=False)
        return found.cast(pa.schema([SCHEMA.field(name) for name in found.column_names]))

    def _where(self, digest: str) -> str:
        return self.files.where(self.address(digest))
