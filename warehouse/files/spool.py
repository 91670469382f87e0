"""Rows written aside as they come, so that a table larger than memory can be made of them.

An Arrow file in a build's work folder, gone with it. Knows no table's meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from warehouse.errors import WarehouseError, explained


class Spool:
    """Tables of one schema, written in order and then read back in order.

    Used as a context: what was written can be read once the block has ended.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            with explained(f"write {self.path}"):
                self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Write the rows of a table; the first one's schema is that of all."""
        with explained(f"write {self.path}"):
            if self._writer is None:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writer = pa.ipc.new_file(str(self.path), table.schema, options=options)
            self._writer.write_table(table)
        self.rows += table.num_rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows that were written. Raises WarehouseError where there were none."""
        if self._writer is None:
            raise WarehouseError(f"{self.path.name}: no row was written")
        with pa.memory_map(str(self.path)) as source:
            found = pa.ipc.open_file(source)
            for number in range(found.num_record_batches):
                yield found.get_batch(number)

    def ordered(self, column: str) -> pa.Table:
        """All rows in the order of a column of numbers, which is left out."""
        whole = pa.Table.from_batches(self.batches())
        return whole.sort_by(column).drop_columns([column]).combine_chunks()
