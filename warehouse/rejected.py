"""Rows that stopped a build: kept beside the artifacts until the asset is built after all.

They are no version of anything, so nothing reads them but the view `rejected`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from warehouse.files.filesystem import Files

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "rejected"


def keep(files: Files, key: str, partition: str | None, rows: pa.Table) -> None:
    """Put the rejected rows of an asset or partition in place of those of its last try."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from warehouse.schemas import conform

    table = conform(rows, FOLDER, key)
    table = table.append_column("asset_key", pa.array([key] * table.num_rows, pa.string()))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    files.write(_path(key, partition), sink.getvalue())


def forget(files: Files, key: str, partition: str | None) -> None:
    """Remove them: the asset has been built."""
    files.delete(_path(key, partition))


def kept(files: Files) -> list[str]:
    """The addresses of all that is kept, as DuckDB reads them."""
    return [files.where(entry.path) for entry in files.entries(FOLDER, ".parquet")]


def _path(key: str, partition: str | None) -> str:
    return f"{FOLDER}/{key}{'' if partition is None else '@' + partition}.parquet"
