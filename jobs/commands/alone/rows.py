"""The rows of a file, and the same rows again with further columns, whole or not at all.

JSON Lines and JSON arrays come out as JSON Lines, Parquet as Parquet. Knows no column by name.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jobs.errors import CommandError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1024
PARQUET = ".parquet"

Row = dict[str, Any]
Made = Mapping[str, Sequence[Any]]  # further columns of some rows


def annotate(
    path: Path,
    output: Path | None,
    columns: Mapping[str, pa.DataType],
    made: Callable[[list[Row]], Made],
) -> int:
    """Write the rows of `path` with the `columns` that `made` gives for a batch of them.

    Columns of these names that are there are replaced. Without `output`, JSON Lines on standard
    output. How many lines are no rows: each is said on stderr with its reason. CommandError where
    the file cannot be read, UsageError where the output has the other format.
    """
    from resources.sources.account import SourceError

    rejected = 0

    def say(line: str) -> None:
        nonlocal rejected
        rejected += 1
        print(f"heirloom: {line}", file=sys.stderr)

    columnar = _columnar(path)
    if output is not None and (output.suffix == PARQUET) != columnar:
        raise UsageError(f"--output {output}: rows of {path.name} keep their format")
    try:
        if columnar and output is not None:
            _parquet(path, output, columns, made)
            return 0
        _lines(read(path, say), output, made)
    except SourceError as error:
        raise CommandError(str(error)) from None
    return rejected


def read(path: Path, rejected: Callable[[str], object] = lambda line: None) -> Iterator[Row]:
    """The rows of a file; `rejected` is told of lines that are none. SourceError, CommandError."""
    from resources.sources.account import Reject
    from resources.sources.json_rows import json_array, json_lines
    from resources.sources.shards import begins_array

    if _columnar(path):
        for batch in _batches(path):
            yield from batch.to_pylist()
        return
    for row in (json_array if begins_array(path) else json_lines)(path, "utf-8"):
        if isinstance(row, Reject):
            rejected(f"{path}:{row.line}: {row.reason}")
        else:
            yield row[1]


def fields(given: Sequence[str], ours: Sequence[str]) -> dict[str, str]:
    """Our field -> theirs, from `--field OURS=THEIRS`; UsageError for one that is not ours."""
    found = {name: name for name in ours}
    for each in given:
        name, sign, theirs = each.partition("=")
        if not sign or name not in ours or not theirs:
            raise UsageError(
                f"--field {each}: must be OURS=THEIRS, such as {ours[-1]}=column; "
                f"ours are {', '.join(ours)}"
            )
        found[name] = theirs
    return found


def _columnar(path: Path) -> bool:
    from resources.sources.shards import format_of

    return format_of(path.name) == "parquet"


def _lines(rows: Iterator[Row], output: Path | None, made: Callable[[list[Row]], Made]) -> None:
    with _written(output) as file:
        while batch := list(islice(rows, BATCH)):
            columns = made(batch)
            for row, *values in zip(batch, *columns.values(), strict=True):
                whole = row | dict(zip(columns, values, strict=True))
                file.write(json.dumps(whole, ensure_ascii=False, default=str) + "\n")


def _batches(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        yield from pq.ParquetFile(path).iter_batches(BATCH)
    except FileNotFoundError:
        raise CommandError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise CommandError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _parquet(
    path: Path,
    output: Path,
    columns: Mapping[str, pa.DataType],
    made: Callable[[list[Row]], Made],
) -> None:
    """Parquet to Parquet: the same columns, and the further ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    aside = output.with_name(f".{output.name}.part")
    writer: Any = None
    try:
        for batch in _batches(path):
            further = made(batch.to_pylist())
            table = pa.Table.from_batches([batch])
            table = table.drop_columns([name for name in columns if name in table.column_names])
            for name, kind in columns.items():
                table = table.append_column(name, pa.array(further[name], kind))
            writer = writer or pq.ParquetWriter(aside, table.schema)
            writer.write_table(table)
        if writer is None:
            raise CommandError(f"{path}: no rows")
        writer.close()
        os.replace(aside, output)
    finally:
        if writer is not None:
            writer.close()
        aside.unlink(missing_ok=True)


@contextmanager
def _written(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears when it is whole."""
    if output is None:
        yield sys.stdout
        return
    aside = output.with_name(f".{output.name}.part")
    try:
        with aside.open("w", encoding="utf-8") as file:
            yield file
        os.replace(aside, output)
    finally:
        aside.unlink(missing_ok=True)
