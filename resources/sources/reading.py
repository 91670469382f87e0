"""`read`: a shard of a source as accounted record batches, whatever its format.

A batch holds the rows that fit, in the columns of the source's kind, and the others with file,
line, field, value and reason. Memory is one batch at any file size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from resources.recipe.sections.data import FIELDS
from resources.sources import gym
from resources.sources.account import Batch, Reject, SourceError, rejected_batch, shown
from resources.sources.conversations import CONVERSATION, conversation
from resources.sources.csv_rows import csv_rows
from resources.sources.fields import Unfit, Written, plain_text, reject
from resources.sources.gym import Generated
from resources.sources.json_rows import Row, json_array, json_lines
from resources.sources.library import Bundled, documents
from resources.sources.opening import LONGEST, decoded, lines
from resources.sources.preferences import PREFERENCE, preference
from resources.sources.problems import PROBLEM, problem
from resources.sources.records import record
from resources.sources.responses import RESPONSE, response
from resources.sources.shards import Piece, Shard, begins_array, format_of

if TYPE_CHECKING:
    from resources.recipe.sections.data import Files

ROWS = 4096  # rows of a batch, at most
CHARACTERS = 8 << 20  # of one batch, about
_PLACE = [("file", pa.string()), ("line", pa.int64())]
KEPT = {
    "text": pa.schema([("text", pa.string()), *_PLACE]),
    "conversations": pa.schema([*CONVERSATION, *_PLACE]),
    "records": pa.schema([("record", pa.string()), *_PLACE]),
    "problems": pa.schema([("problem", PROBLEM), *_PLACE]),
    "responses": pa.schema([("response", RESPONSE), *_PLACE]),
    "preferences": pa.schema([("preference", PREFERENCE), *_PLACE]),
}
Elsewhere = Callable[[Mapping[str, Any]], bool]


def read(source: Files, shard: Shard, elsewhere: Elsewhere | None = None) -> Iterator[Batch]:
    """The rows of one shard of a source of a kind of `KEPT`, in order.

    Kept rows have `text`, `messages` (with `tools`, `calls` and `tagged`), `record` (the declared
    fields as JSON), `problem`, `response` or `preference`, and `file` and `line` (of Parquet: the
    row), counted from 1, the same for no two rows of a file. With `limit` the shard ends after so
    many kept rows. A row of which `elsewhere` says so is another reader's, and passed over. Raises
    SourceError where a file is missing, damaged, of an unknown format, or lacks a declared Parquet
    column.
    """
    left = source.limit
    for piece in shard.pieces:
        for batch in _piece(source, piece, elsewhere):
            if left is not None and batch.kept.num_rows >= left:
                yield _first(batch, left)
                return
            left = None if left is None else left - batch.kept.num_rows
            yield batch


def _first(batch: Batch, rows: int) -> Batch:
    kept = batch.kept.slice(0, rows)
    last = kept.column("line")[rows - 1].as_py()
    before = pc.less_equal(batch.rejected.column("line"), last)
    return Batch(kept, batch.rejected.filter(before))


def _piece(source: Files, piece: Piece, elsewhere: Elsewhere | None) -> Iterator[Batch]:
    if isinstance(piece.path, Bundled):
        yield from _brought(source, piece.path)
        return
    if isinstance(piece.path, Generated):
        made = gym.rows(piece.path, source.limit)
        yield from _batches(made, _taker(source, elsewhere), KEPT[source.kind], piece.name)
        return
    form = source.format or format_of(piece.name)
    taken = _taker(source, elsewhere, sparse=form == "parquet")
    if form == "parquet":
        yield from _parquet(source, piece, taken)
        return
    rows: Iterator[Row | Reject]
    if form == "text":
        rows = _documents(source, piece)
    elif form == "csv":
        rows = csv_rows(piece.local, source.encoding)
    elif form == "json" or (piece.start == 0 and begins_array(piece.local)):
        rows = json_array(piece.local, source.encoding)
    else:
        rows = json_lines(piece.local, source.encoding, piece.start, piece.stop)
    yield from _batches(rows, taken, KEPT[source.kind], piece.name)


def _brought(source: Files, text: Bundled) -> Iterator[Batch]:
    taken = _taker(source)
    for file, found in itertools.groupby(documents(text.what), key=lambda each: each[0]):
        rows = ((line, {source.columns["text"]: body}) for _, line, body in found)
        yield from _batches(rows, taken, KEPT["text"], file)


def _taker(
    source: Files, elsewhere: Elsewhere | None = None, sparse: bool = False
) -> Callable[[Mapping[str, Any]], Any]:
    """What makes a value of a row of theirs: None where it is another reader's.

    `sparse`: objects have the fields of all rows, null where there is none, as in Parquet.
    """
    columns = source.columns if source.format != "text" else {"text": "text"}
    takers: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "text": lambda row: plain_text(row, columns["text"]),
        "conversations": lambda row: conversation(row, columns, source.tools_as_text, sparse),
        "records": lambda row: record(row, columns),
        "problems": lambda row: problem(row, columns, source.domain, source.voted),
        "responses": lambda row: response(row, columns, source.domain, source.voted),
        "preferences": lambda row: preference(row, columns),
    }
    take = takers[source.kind]
    return take if elsewhere is None else lambda row: None if elsewhere(row) else take(row)


def _batches(
    rows: Iterator[Row | Reject],
    take: Callable[[Mapping[str, Any]], Any],
    schema: pa.Schema,
    file: str,
) -> Iterator[Batch]:
    """Batches of rows that `take` accepts, with those that it refuses; None is neither.

    A value is that of the schema's one column beside the place, or has those of several by name.
    """
    values: list[Any] = []
    numbers: list[int] = []
    rejects: list[Reject] = []
    size = 0

    def batch() -> Batch:
        first, *more = [field for field in schema if field.name not in dict(_PLACE)]
        parts = {first.name: values}
        if more:
            parts = {each.name: [value[each.name] for value in values] for each in (first, *more)}
        columns = [
            *(pa.array(part, schema.field(name).type) for name, part in parts.items()),
            pa.repeat(file, len(values)),
            pa.array(numbers, pa.int64()),
        ]
        return Batch(pa.record_batch(columns, schema=schema), rejected_batch(file, rejects))

    for row in rows:
        if isinstance(row, Reject):
            rejects.append(row)
        else:
            line, fields = row
            try:
                value = take(fields)
            except Unfit as error:
                rejects.append(reject(line, error))
            else:
                if value is None:
                    continue
                values.append(value)
                numbers.append(line)
                size += _characters(value)
        if len(values) + len(rejects) >= ROWS or size >= CHARACTERS:
            yield batch()
            values, numbers, rejects, size = [], [], [], 0
    if values or rejects:
        yield batch()


def _characters(value: Any) -> int:
    """The text in a value, turns and fields included."""
    if isinstance(value, str):
        return len(value)
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_characters, inside))


def _documents(source: Files, piece: Piece) -> Iterator[Row | Reject]:
    """The documents of a plain text file: the file, its paragraphs or its lines."""
    held: list[str] = []
    first, size, bad = 1, 0, Reject(0, "", "", "")

    def document() -> Iterator[Row | Reject]:
        if bad.line:
            yield bad
        elif any(text.strip() for text in held):
            yield first, {"text": "\n".join(held).strip("\n")}

    for line in lines(piece.local, piece.start, piece.stop):
        try:
            text = "" if line.text is None else decoded(line.text, source.encoding)
        except ValueError as error:
            bad, text = Reject(line.number, "text", shown(line.text), str(error)), ""
        size += len(text) + 1
        if line.text is None or size > LONGEST:
            reason = f"a document of more than {LONGEST >> 20} MiB; say `document: line`"
            bad, held = Reject(line.number, "text", shown(text), reason), []
        ends = source.document == "line" or (source.document == "paragraph" and not text.strip())
        held.append(text)
        if ends:
            yield from document()
            held, first, size, bad = [], line.number + 1, 0, Reject(0, "", "", "")
    yield from document()


def _parquet(
    source: Files, piece: Piece, taken: Callable[[Mapping[str, Any]], Any]
) -> Iterator[Batch]:
    import pyarrow.parquet as pq

    path = piece.local
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = _parquet_columns(source, names)
            _check_columns(wanted, names, path)
            stop = file.num_row_groups if piece.stop is None else piece.stop
            groups = list(range(piece.start, min(stop, file.num_row_groups)))
            number = 1 + sum(
                file.metadata.row_group(group).num_rows for group in range(piece.start)
            )
            beside = "domain" if source.kind == "problems" else "tools"  # what else tells a row
            optional = [beside] if beside in names and beside not in wanted else []
            if source.kind == "text":
                _check_text(file.schema_arrow.field(wanted[0]), path)
            for batch in file.iter_batches(1024, groups, columns=[*wanted, *optional]):
                if source.kind == "text":
                    yield _text_column(batch.column(0), number, wanted[0], piece.name)
                else:
                    rows, kept = _rows(batch, number), KEPT[source.kind]
                    yield from _batches(rows, taken, kept, piece.name)
                number += batch.num_rows
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{path}: not readable Parquet: {reason}") from None


def _parquet_columns(source: Files, names: list[str]) -> list[str]:
    """The columns of a file that a declaration reads, of `a.b` the first part."""
    columns = source.columns
    if not columns:  # they bear our names
        columns = {
            name: name for name in FIELDS[source.kind] if name in names or name == "question"
        }
    inner = (
        {"role", "content", "train"} if source.kind in ("conversations", "preferences") else set()
    )
    theirs = [theirs for ours, theirs in columns.items() if ours not in inner]
    return list(dict.fromkeys(each if each in names else each.partition(".")[0] for each in theirs))


def _check_columns(wanted: list[str], names: list[str], path: Path) -> None:
    for name in wanted:
        if name not in names:
            has = ", ".join(names)
            raise SourceError(f"{path}: no column {name!r}; it has {has}: say which in `fields`")
        if names.count(name) > 1:
            raise SourceError(f"{path}: {names.count(name)} columns {name!r}; rename one")


def _rows(batch: pa.RecordBatch, first: int) -> Iterator[Row | Reject]:
    """The rows of a batch by column, numbered from `first`; a value that Python cannot hold, such
    as text that is not UTF-8, costs its row alone."""
    single = [field.name for field in batch.schema if field.type in (pa.float16(), pa.float32())]
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError):
        yield from (_row(batch.slice(i, 1), first + i) for i in range(batch.num_rows))
    else:
        for name in single:
            for row, text in zip(
                rows, batch.column(name).cast(pa.string()).to_pylist(), strict=True
            ):
                if row[name] is not None and math.isfinite(row[name]):
                    row[name] = Written(text)  # not with the digits of the nearest double
        yield from enumerate(rows, first)


def _row(row: pa.RecordBatch, number: int) -> Row | Reject:
    found = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            (found[name],) = column.to_pylist()
        except UnicodeDecodeError:
            return Reject(number, name, "", "not UTF-8")
        except (ValueError, OverflowError) as error:
            return Reject(number, name, "", f"not readable: {error}")
    return number, found


def _check_text(field: pa.Field, path: Path) -> None:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not any(is_text(kind) for is_text in texts):
        raise SourceError(f"{path}: column {field.name!r} is {field.type}, must be text")


def _text_column(column: pa.Array, first: int, name: str, file: str) -> Batch:
    """A column of texts, judged as a whole: null, empty and invalid ones are rejected."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    texts = column.cast(pa.string())
    numbers = pa.array(range(first, first + len(texts)), pa.int64())
    try:
        texts.validate(full=True)
        foreign = pa.array([False] * len(texts))
    except pa.ArrowInvalid:
        raw = texts.cast(pa.binary()).to_pylist()
        foreign = pa.array([text is not None and _foreign(text) for text in raw])
        texts = pc.if_else(foreign, pa.scalar("\ufffd"), texts)
    nul = pc.match_substring(texts, "\0")
    empty = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
    why = pc.if_else(
        pc.is_null(texts),
        "must be text, is null",
        pc.if_else(
            foreign,
            "not UTF-8",
            pc.if_else(
                empty, "empty", pc.if_else(nul, "no text: a NUL", pa.scalar(None, pa.string()))
            ),
        ),
    )
    fits = pc.is_null(why)
    kept = pa.record_batch(
        [texts, pa.repeat(file, len(texts)), numbers], schema=KEPT["text"]
    ).filter(fits)
    lost = pc.invert(fits)
    rejects = [
        Reject(line, name, "null" if "null" in reason else "", reason)
        for line, reason in zip(
            numbers.filter(lost).to_pylist(), why.filter(lost).to_pylist(), strict=True
        )
    ]
    return Batch(kept, rejected_batch(file, rejects))


def _foreign(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return True
    return False
