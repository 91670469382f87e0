"""Declared fields of rows of any shape, each value as it stands. Knows no meaning of a field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from resources.sources.fields import Unfit, at, refuse


def record(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """The declared fields of a row as JSON, by our names; Unfit where one is absent or null.

    >>> record({"choices": {"text": ["a", "b"]}, "id": 3}, {"options": "choices.text"})
    '{"options": ["a", "b"]}'
    """
    found = {name: at(row, column) for name, column in columns.items()}
    for name, value in found.items():
        if value is None:
            raise Unfit(columns[name], None, "is null")
    try:
        text = json.dumps(found, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        for name, column in columns.items():
            refuse(column, found[name])
        raise Unfit("", "", f"no JSON value: {error}") from None
    return text
