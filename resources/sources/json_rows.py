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

from resources.sources.account import SHOWN, Reject, SourceError, shown
from resources.sources.fields import Written
from resources.sources.opening import LONGEST, blocks, decoded, lines, unmarked

Row = tuple[int, dict[str, Any]]
_SPACE = re.compile(r"[ \t\r\n]*")


class _NoNumber:
    """What NaN, Infinity or an endless integer stands for until its field is known."""

    def __init__(self, text: str, reason: str) -> None:
        self.text, self.reason = text, reason


class _Parser:
    """JSON with NaN and the like found rather than read."""

    def __init__(self) -> None:
        self.odd = False
        self._decoder = json.JSONDecoder(parse_constant=self._constant, parse_float=Written)
        # Asks of every integer; used where the one above met one that Python does not read.
        self._careful = json.JSONDecoder(
            parse_constant=self._constant, parse_float=Written, parse_int=self._integer
        )

    def read(self, text: str, at: int = 0) -> tuple[Any, int]:
        """The value that begins at a place, and where it ends. JSONDecodeError, RecursionError."""
        try:
            return self._decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            raise
        except ValueError:
            return self._careful.raw_decode(text, at)

    def whole(self, text: str) -> Any:
        """The value that a text is. JSONDecodeError, RecursionError."""
        value, end = self.read(text, _past_space(text, 0))
        if (end := _past_space(text, end)) != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value

    def _constant(self, text: str) -> _NoNumber:
        self.odd = True
        return _NoNumber(text, "not a number (NaN and Infinity are no JSON)")

    def _integer(self, text: str) -> int | _NoNumber:
        try:
            return int(text)
        except ValueError:
            self.odd = True
            return _NoNumber(text[:SHOWN], f"a number of {len(text)} digits")

    def checked(self, value: Any, line: int) -> Row | Reject:
        """The value as a row, or what stands against it."""
        if self.odd:
            self.odd = False
            field, found = next(_odd(value, ""))
            return Reject(line, field, found.text, found.reason)
        if not isinstance(value, dict):
            return Reject(line, "", shown(value), "each row must be a JSON object")
        return line, value


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _odd(value: Any, path: str) -> Iterator[tuple[str, _NoNumber]]:
    if isinstance(value, _NoNumber):
        yield path, value
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
            value = parser.whole(text)
        except (json.JSONDecodeError, RecursionError) as error:
            parser.odd = False
            yield Reject(line.number, "", shown(text), f"not JSON: {_why(error)}")
            continue
        yield parser.checked(value, line.number)


def _why(error: json.JSONDecodeError | RecursionError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"


def json_array(path: Path, encoding: str) -> Iterator[Row | Reject]:
    """The objects of a file that is one JSON array, element by element.

    Each has the number of the line on which it begins. Where several begin on one, as in an array
    without line ends, the numbers go on counting: no two rows have the same. Memory is one element
    and one block. A last element that is cut short is a reject; SourceError where anything else is
    no JSON, since what follows cannot be told apart.
    """
    parser, text = _Parser(), _Text(path, encoding)
    text.skip()
    if not text.take("["):
        raise SourceError(f"{path}:{text.line}: not a JSON array; one object a line is .jsonl")
    text.skip()
    if text.take("]"):
        text.end()
        return
    line = 0
    while True:
        text.skip()
        line, head = max(text.line, line + 1), text.head(shown_length=400)
        value = text.element(parser)
        if value is None:
            yield Reject(line, "", shown(head), "not JSON: the array ends in the middle of a row")
            return
        yield parser.checked(value[0], line)
        text.skip()
        if text.take("]"):
            text.end()
            return
        if not text.take(","):
            if text.ended:
                yield Reject(
                    max(text.line, line + 1), "", "", "the array has no end; fetch the file again"
                )
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
            self._forward(_past_space(self.text, self.at))
            if self.at < len(self.text) or not self.more():
                return

    def take(self, mark: str) -> bool:
        """Past `mark`, where it stands here."""
        if self.text.startswith(mark, self.at):
            self.at += 1
            return True
        return False

    def end(self) -> None:
        """SourceError where anything but white space follows."""
        self.skip()
        if self.at < len(self.text):
            raise SourceError(f"{self.path}:{self.line}: text after the array; remove it")

    def head(self, shown_length: int) -> str:
        """The next characters that are held."""
        return self.text[self.at : self.at + shown_length]

    def element(self, parser: _Parser) -> tuple[Any] | None:
        """The value that begins here, past it; None where the file ends inside it."""
        while True:
            try:
                value, end = parser.read(self.text, self.at)
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

    def _cut_short(self, error: json.JSONDecodeError | RecursionError) -> bool:
        """Whether the error lies where the held text ends, so that more of it may mend it."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return "Unterminated string" in error.msg or error.pos >= len(self.text.rstrip()) - 8

    def _broken(self, error: json.JSONDecodeError | RecursionError) -> SourceError:
        line = self.line
        if isinstance(error, json.JSONDecodeError):
            line += self.text.count("\n", self.at, error.pos)
        return SourceError(f"{self.path}:{line}: not JSON: {_why(error)}; the rest cannot be read")
