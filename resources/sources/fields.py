"""The value in a field of a row, by its declared type: as it stands, or why it does not fit.

No value becomes another: a number is no text, null is nothing, and what was written as a number
keeps the digits that were written. Knows no kind of source.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from resources.sources.account import Reject, shown


class Unfit(ValueError):
    """A row that does not fit: the field, what stood there, what would be right."""

    def __init__(self, field: str, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.field, self.value, self.reason = field, value, reason


class Written(float):
    """A number with the text that it was written as: 0.10 stays `0.10`, 1e400 stays `1e400`."""

    def __new__(cls, text: str) -> Written:
        """The number that `text` is."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str

    def __str__(self) -> str:
        return self.text


def reject(line: int, error: Unfit) -> Reject:
    """The reject of a row that does not fit."""
    return Reject(line, error.field, shown(error.value), error.reason)


def at(row: Mapping[str, Any], column: str) -> Any:
    """What stands in `column`, which may be null; `a.b` is a field inside one. Unfit where absent.

    >>> at({"choices": {"text": ["a", "b"]}}, "choices.text")
    ['a', 'b']
    """
    value: Any = row
    for part in [column] if column in row else column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            there = ", ".join(map(str, list(value)[:8])) if isinstance(value, Mapping) else ""
            raise Unfit(column, None, f"no such field; there are {there or 'none'}")
        value = value[part]
    return value


def plain_text(row: Mapping[str, Any], column: str) -> str:
    """The text in `column`; Unfit where there is none: never the text of another value.

    >>> plain_text({"a": "x"}, "a")
    'x'
    """
    value = at(row, column)
    if not isinstance(value, str):
        raise Unfit(column, value, f"must be text, is {kind(value)}")
    if not value.strip():
        raise Unfit(column, value, "empty")
    return _sound(column, value)


def optional_text(row: Mapping[str, Any], column: str) -> str | None:
    """A text that may be empty or null, but nothing else."""
    return None if at(row, column) in (None, "") else plain_text(row, column)


def text_or_number(row: Mapping[str, Any], column: str) -> str:
    """The text in `column`, or the number there as it was written; Unfit for anything else.

    >>> text_or_number({"a": 10000000000000001}, "a"), text_or_number({"a": Written("0.10")}, "a")
    ('10000000000000001', '0.10')
    """
    value = at(row, column)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        if value is None or isinstance(value, str):
            return plain_text(row, column)
        raise Unfit(column, value, f"must be text or a number, is {kind(value)}")
    if isinstance(value, float | Decimal) and not isinstance(value, Written):
        if not math.isfinite(value):
            raise Unfit(column, str(value), "not a number")
        return f"{value:f}" if isinstance(value, Decimal) else repr(value)
    return str(value)


def whole_number(row: Mapping[str, Any], column: str, bits: int = 32) -> int | None:
    """A whole number of `bits` bits at most, or the text of one; None where there is none.

    >>> whole_number({"level": 3.0}, "level"), whole_number({"level": "3"}, "level")
    (3, 3)
    """
    value = at(row, column)
    if value in (None, ""):
        return None
    number = value
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal() and len(value) < 24:
        number = int(value)
    if isinstance(number, float) and math.isfinite(number) and number == int(number):
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise Unfit(column, value, "must be a whole number")
    if abs(number) >= 1 << (bits - 1):
        raise Unfit(column, value, f"a number of more than {bits} bits")
    return number


def json_text(column: str, value: Any, sort_keys: bool = False) -> str:
    """A value of any shape as JSON, numbers as they were written; Unfit where it has none.

    >>> json_text("a", {"b": [Written("0.10"), None]})
    '{"b": [0.10, null]}'
    """
    refuse(column, value)
    return _json(value, sort_keys)


def refuse(column: str, value: Any) -> None:
    """Unfit where a value has no JSON; Parquet's NaN is as little a number as a date is."""
    try:
        json.dumps(_finite(value), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise Unfit(column, value, "no text: a lone surrogate or a foreign byte") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise Unfit(column, value, f"no JSON value: {error}") from None


def kind(value: Any) -> str:
    """What a value is, in a word."""
    return "null" if value is None else type(value).__name__


def _sound(column: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        reason = f"no text: a lone surrogate or a foreign byte at character {error.start + 1}"
        raise Unfit(column, text, reason) from None
    if "\0" in text:
        raise Unfit(column, text, f"no text: a NUL at character {text.index(chr(0)) + 1}")
    return text


def _finite(value: Any) -> Any:
    """The value with numbers as texts: what no float can hold is a number all the same."""
    if isinstance(value, Written):
        return value.text
    if isinstance(value, dict):
        return {key: _finite(inside) for key, inside in value.items()}
    return [_finite(inside) for inside in value] if isinstance(value, list | tuple) else value


def _json(value: Any, sort_keys: bool) -> str:
    if isinstance(value, Written):
        return value.text
    if isinstance(value, dict):
        pairs = sorted(value.items()) if sort_keys else value.items()
        return "{" + ", ".join(f"{json.dumps(k)}: {_json(v, sort_keys)}" for k, v in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_json(inside, sort_keys) for inside in value) + "]"
    return json.dumps(value)
