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
        text = json.dumps(found, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise Unfit(next(iter(columns.values())), None, f"no JSON value: {error}") from None
    return text


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
