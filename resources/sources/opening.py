"""A file as a stream of bytes and of lines: compression, byte order mark and encoding in one place.

Knows no row format. Memory is one block and one line, at any file size.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from resources.sources.account import SourceError

BLOCK = 1 << 22
LONGEST = 64 << 20  # bytes of one line; a longer one is no row of text
_MAGIC = {b"\x1f\x8b\x08": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}  # no text begins so
_COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


@dataclass(frozen=True)
class Line:
    """One line without its end: `number` counts from 1; `text` is None beyond `LONGEST` bytes."""

    number: int
    text: bytes | None


def compression(path: Path) -> str | None:
    """The compression that a file's name says.

    >>> compression(Path("a.jsonl.gz")), compression(Path("a.jsonl"))
    ('gzip', None)
    """
    return _COMPRESSED.get(path.suffix.lower())


def blocks(path: Path, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The file's bytes, decompressed, in blocks.

    `start` and `stop` are byte offsets of an uncompressed file. SourceError where the file is
    missing, cut short, damaged, UTF-16, or compressed without its name saying so.
    """
    begins = start == 0
    try:
        with pa.input_stream(str(path), compression=compression(path)) as stream:
            if start:
                stream.seek(start)
            left = None if stop is None else stop - start
            while left is None or left > 0:
                block = stream.read(BLOCK if left is None else min(BLOCK, left))
                if not block:
                    return
                left = None if left is None else left - len(block)
                if begins:
                    _refuse(path, block)
                begins = False
                yield block
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{path}: cannot be read to its end: {reason}; fetch it again") from None


def _refuse(path: Path, beginning: bytes) -> None:
    """SourceError where a file's first bytes, decompressed, are no text of one byte a letter."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(f"{path}: UTF-16; convert it to UTF-8")
    for magic, suffix in _MAGIC.items():
        if beginning.startswith(magic):
            twice = "compressed twice; unpack it once"
            once = f"compressed; its name must end in {suffix} to say so"
            raise SourceError(f"{path}: {twice if compression(path) else once}")


def unmarked(text: bytes) -> bytes:
    """The first bytes of a file without their byte order mark."""
    return text.removeprefix(codecs.BOM_UTF8)


def lines(path: Path, start: int = 0, stop: int | None = None) -> Iterator[Line]:
    """The lines whose first byte lies in [start, stop), numbered within the whole file.

    Lines end at LF or CRLF; other line separators are text. Byte ranges that follow one another
    hold every line once.
    """
    number = 1 if start == 0 else line_number(path, start)
    skipping = start > 0 and not begins_line(path, start)
    place, held, size = start, list[bytes](), 0  # where the current line began, and its pieces
    for block in blocks(path, start):
        at = 0
        while (end := block.find(b"\n", at)) >= 0:
            size += end - at
            if not skipping:
                if stop is not None and place >= stop:
                    return
                held.append(block[at:end])
                yield _line(number, held, size)
            number += 0 if skipping else 1
            place, held, size, skipping = place + size + 1, [], 0, False
            at = end + 1
        size += len(block) - at
        if not skipping and size <= LONGEST:
            held.append(block[at:])
        if stop is not None and place >= stop and not skipping:
            return
    if size and not skipping and (stop is None or place < stop):
        yield _line(number, held, size)


def _line(number: int, pieces: list[bytes], size: int) -> Line:
    if size > LONGEST:
        return Line(number, None)
    text = b"".join(pieces)
    return Line(number, (unmarked(text) if number == 1 else text).removesuffix(b"\r"))


def begins_line(path: Path, offset: int) -> bool:
    """Whether a line begins at a byte offset of an uncompressed file."""
    with path.open("rb") as file:
        file.seek(offset - 1)
        return file.read(1) == b"\n"


def line_number(path: Path, offset: int) -> int:
    """The number of the first line that begins at or after a byte offset."""
    before = sum(block.count(b"\n") for block in blocks(path, 0, offset))
    return before + (1 if begins_line(path, offset) else 2)


def decoded(raw: bytes, encoding: str) -> str:
    """Bytes as text; ValueError says where they are not of the declared encoding."""
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not {encoding.upper()} at byte {error.start + 1}; convert the file, "
            "or declare `encoding: latin-1` if it is"
        ) from None
