"""JSON objects of a file, line by line or as one array, each with its line or the reason against.

Strict JSON: NaN and Infinity are none. Each row is parsed alone, so that one bad row never costs
another (pyarrow's JSON reader takes NaN for null and crashes on a line that says `null`).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.sources.account import Reject, SourceError, shown
from resources.sources.opening import LONGEST, blocks, decoded, lines, unmarked

Row = tuple[int, dict[str, Any]]
_SPACE = re.compile(r"[ \t\r\n]*")


class _NoNumber:
    """What NaN or Infinity stands for until its field is known."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Parser:
    """JSON with NaN and the like found rather than read."""

    def __init__(self) -> None:
        self.odd = False
        self.decoder = json.JSONDecoder(parse_constant=self._constant)

    def _constant(self, text: str) -> _NoNumber:
        self.odd = True
        return _NoNumber(text)

    def checked(self, value: Any, line: int) -> Row | Reject:
        """The value as a row, or what stands against it."""
        if self.odd:
            self.odd = False
            field, text = next(_odd(value, ""))
            return Reject(line, field, text, "not a number (NaN and Infinity are no JSON)")
        if not isinstance(value, dict):
            return Reject(line, "", shown(value), "each row must be a JSON object")
        return line, value


def _odd(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, _NoNumber):
        yield path, value.text
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield from _odd(inside, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _odd(inside, f"{path}[{index}]")


def json_lines(
    path: Path, encoding: str, start: int = 0, stop: int | None = None
) -> Iterator[Row | Reject]:
    """The objects of a JSON Lines file, or of the byte range [start, stop) of one.

    A line that is cut short, no JSON, no object or not of the encoding is a reject.
    """
    parser = _Parser()
    for line in lines(path, start, stop):
        if line.text is None:
            yield Reject(line.number, "", "", f"a line of more than {LONGEST >> 20} MiB")
            continue
        if not line.text.strip():
            continue
        try:
            text = decoded(line.text, encoding)
        except ValueError as error:
            yield Reject(line.number, "", shown(line.text), str(error))
            continue
        try:
            value = parser.decoder.decode(text)
        except (json.JSONDecodeError, RecursionError) as error:
            parser.odd = False
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            yield Reject(line.number, "", shown(text), f"not JSON: {reason}")
            continue
        yield parser.checked(value, line.number)


def json_array(path: Path, encoding: str) -> Iterator[Row | Reject]:
    """The objects of a file that is one JSON array, element by element.

    Memory is one element and one block. A last element that is cut short is a reject; SourceError
    where anything else is no JSON, since what follows cannot be told apart.
    """
    parser, text = _Parser(), _Text(path, encoding)
    text.skip()
    if not text.take("["):
        raise SourceError(f"{path}:{text.line}: not a JSON array; one object a line is .jsonl")
    text.skip()
    if text.take("]"):
        return
    while True:
        text.skip()
        line, head = text.line, text.head(shown_length=400)
        value = text.element(parser)
        if value is None:
            yield Reject(line, "", shown(head), "not JSON: the array ends in the middle of a row")
            return
        yield parser.checked(value[0], line)
        text.skip()
        if text.take("]"):
            text.skip()
            if text.head(1):
                raise SourceError(f"{path}:{text.line}: text after the array; remove it")
            return
        if not text.take(","):
            if text.ended:
                yield Reject(text.line, "", "", "the array has no end; fetch the file again")
                return
            raise SourceError(f"{path}:{text.line}: not JSON: no comma between two rows")


class _Text:
    """Decoded text of a file with a place in it; only the unread part is held."""

    def __init__(self, path: Path, encoding: str) -> None:
        self.path, self.line, self.at, self.text, self.ended = path, 1, 0, "", False
        self._blocks = blocks(path)
        # A byte that is not of the encoding becomes a lone surrogate, which rejects its row alone.
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._begun = False

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        if self.ended:
            return False
        block = next(self._blocks, None)
        if block is not None and not self._begun:
            self._begun, block = True, unmarked(block)
        new = self._decoder.decode(block or b"", block is None)
        self.ended = block is None
        self.text, self.at = self.text[self.at :] + new, 0
        return True

    def _forward(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def skip(self) -> None:
        """Past white space."""
        while True:
            found = _SPACE.match(self.text, self.at)
            self._forward(found.end() if found else self.at)
            if self.at < len(self.text) or not self.more():
                return

    def take(self, mark: str) -> bool:
        """Past `mark`, where it stands here."""
        if self.text.startswith(mark, self.at):
            self.at += 1
            return True
        return False

    def head(self, shown_length: int) -> str:
        """The next characters that are held."""
        return self.text[self.at : self.at + shown_length]

    def element(self, parser: _Parser) -> tuple[Any] | None:
        """The value that begins here, past it; None where the file ends inside it."""
        while True:
            try:
                value, end = parser.decoder.raw_decode(self.text, self.at)
            except (json.JSONDecodeError, RecursionError) as error:
                parser.odd = False
                held = len(self.text) - self.at
                if held > 4 * LONGEST or not self._cut_short(error):
                    raise self._broken(error) from None
                while len(self.text) - self.at < 2 * held and self.more():
                    pass
                if len(self.text) - self.at == held:
                    return None
                continue
            if end == len(self.text) and self.more():  # a number may go on
                parser.odd = False
                continue
            self._forward(end)
            return (value,)

    def _cut_short(self, error: Exception) -> bool:
        """Whether the error lies where the held text ends, so that more of it may mend it."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return "Unterminated string" in error.msg or error.pos >= len(self.text.rstrip()) - 8

    def _broken(self, error: Exception) -> SourceError:
        line, why = self.line, str(error)
        if isinstance(error, json.JSONDecodeError):
            line, why = self.line + self.text.count("\n", self.at, error.pos), error.msg
        return SourceError(f"{self.path}:{line}: not JSON: {why}; the rest cannot be read")
