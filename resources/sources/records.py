"""Declared fields of rows of any shape, each value as it stands. Knows no meaning of a field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from resources.sources.conversations import Unfit


def record(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """The declared fields of a row as JSON, by our names; Unfit where one is absent or null.

    >>> record({"choices": {"text": ["a", "b"]}, "id": 3}, {"options": "choices.text"})
    '{"options": ["a", "b"]}'
    """
    found = {name: _at(row, column) for name, column in columns.items()}
    try:
        return _json(found)
    except (TypeError, ValueError):
        for name, column in columns.items():
            _refuse(column, found[name])
        raise


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()
    return text


def _refuse(column: str, value: Any) -> None:
    """Unfit where the value has no JSON; Parquet's NaN is as little a number as a date is."""
    try:
        _json(value)
    except UnicodeEncodeError:
        raise Unfit(column, value, "no text: a lone surrogate or a foreign byte") from None
    except (TypeError, ValueError) as error:
        raise Unfit(column, value, f"no JSON value: {error}") from None


def _at(row: Mapping[str, Any], column: str) -> Any:
    value: Any = row
    for part in [column] if column in row else column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            there = ", ".join(map(str, list(value)[:8])) if isinstance(value, Mapping) else ""
            raise Unfit(column, None, f"no such field; there are {there or 'none'}")
        value = value[part]
    if value is None:
        raise Unfit(column, None, "is null")
    return value
