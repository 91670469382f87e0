"""Pairs of answers of which one is preferred, from rows in the shapes that people have.

The prompt is a text or turns; the answers are texts, a turn, or whole conversations that begin
alike. Knows no reward model and no template.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from resources.sources.conversations import turn
from resources.sources.fields import Unfit, at, kind, plain_text

TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
PREFERENCE = pa.struct(
    [
        ("prompt", TURNS),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("chosen_score", pa.float64()),
        ("rejected_score", pa.float64()),
    ]
)
Turns = list[dict[str, str]]


def preference(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The pair in a row, as `PREFERENCE`.

    `columns` maps `chosen` and `rejected`, or `first`, `second` and `preference`, a number below 0
    where the first is better. Raises Unfit for answers that are equal or equally good, for a prompt
    that does not end with the user, and where both answers follow other turns.
    """
    better, worse = _sides(row, columns)
    told = turns(row, columns["prompt"], columns) if "prompt" in columns else None
    (first, chosen), (second, rejected) = (_answer(row, each, columns) for each in (better, worse))
    if first != second:
        raise Unfit(worse, None, f"follows other turns than {better}")
    if told is not None and first and told != first and told != first[-1:]:
        raise Unfit(better, None, f"follows other turns than {columns['prompt']} says")
    prompt = first or told
    if not prompt or prompt[-1]["role"] != "user":
        raise Unfit(columns.get("prompt", better), None, "the prompt must end with a user's turn")
    if chosen == rejected:
        raise Unfit(worse, rejected, f"the same as {better}")
    scores = (_number(row, columns[name]) if name in columns else None for name in _SCORES)
    return {
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        **dict(zip(_SCORES, scores, strict=True)),
    }


_SCORES = ("chosen_score", "rejected_score")


def _sides(row: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[str, str]:
    """The columns of the better and of the worse answer."""
    if "preference" not in columns:
        return columns["chosen"], columns["rejected"]
    column = columns["preference"]
    told = _number(row, column)
    if told is None or told == 0:
        raise Unfit(column, told, "no preference")
    return (columns["first"], columns["second"])[:: 1 if told < 0 else -1]  # type: ignore[return-value]


def _number(row: Mapping[str, Any], column: str) -> float | None:
    value = at(row, column)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unfit(column, value, "must be a number")
    return float(value)


def _answer(row: Mapping[str, Any], column: str, columns: Mapping[str, str]) -> tuple[Turns, str]:
    """The turns before an answer, where it says some, and the answer."""
    value = at(row, column)
    if isinstance(value, str) or value is None:
        return [], plain_text(row, column)
    said = turns({column: [value] if isinstance(value, dict) else value}, column, columns)
    if said[-1]["role"] != "assistant":
        raise Unfit(column, value, "the last turn must be the assistant's")
    return said[:-1], said[-1]["content"]


def turns(row: Mapping[str, Any], column: str, columns: Mapping[str, str]) -> Turns:
    """A prompt as turns: a text is the user's."""
    value = at(row, column)
    if isinstance(value, str):
        return [{"role": "user", "content": plain_text(row, column)}]
    if not isinstance(value, list) or not value:
        raise Unfit(column, value, f"must be text or a list of turns, is {kind(value)}")
    names = {**columns, "train": "train"}
    found = [turn(each, names, f"{column}[{index}]") for index, each in enumerate(value)]
    return [{"role": each["role"], "content": each["content"]} for each in found]
