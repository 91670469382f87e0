"""Conversations from rows in the shapes that people have, checked turn by turn.

A row is a list of turns (`messages`, or ShareGPT's `conversations` by declared fields), or one
exchange (a prompt and a response). Knows no template and no tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from resources.sources.fields import Unfit, at, optional_text, plain_text

MESSAGES = pa.list_(
    pa.struct([("role", pa.string()), ("content", pa.string()), ("train", pa.bool_())])
)
# ShareGPT's names of the three roles; any other name is rejected, never guessed.
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
TOOLS = {"tool", "function", "function_call", "observation", "tool_calls", "tool_call"}
TOOLS_LATER = "tool calls come with the next release"


def conversation(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """The turns of a row, `{role, content, train}` each; a turn is trained on unless it says not.

    Raises Unfit unless they are an optional system turn and then user and assistant in turn, ending
    with an assistant turn that is trained on.
    """
    turns = _exchange(row, columns) if "response" in columns else _turns(row, columns)
    spoken = [turn["role"] for turn in turns]
    field = columns.get("messages", columns.get("response", ""))
    if "system" in spoken[1:]:
        raise Unfit(field, spoken, "a system turn can only be the first")
    order = [role for role in spoken if role != "system"]
    if any(role != ("user", "assistant")[index % 2] for index, role in enumerate(order)):
        raise Unfit(field, spoken, "turns must be user, assistant, user, assistant …")
    if not order or order[-1] != "assistant":
        raise Unfit(field, spoken, "the last turn must be the assistant's")
    if not any(turn["train"] for turn in turns if turn["role"] == "assistant"):
        raise Unfit(field, spoken, "no assistant turn to train on: all say `train: false`")
    return turns


def _exchange(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[dict[str, Any]]:
    column = columns["prompt"]
    prompt = at(row, column)
    if isinstance(prompt, list):  # what went before the response; nothing of it is learned
        names = {"role": "role", "content": "content", "train": "train"} | dict(columns)
        turns = [turn(each, names, f"{column}[{i}]") for i, each in enumerate(prompt)]
        turns = [{**each, "train": each["role"] != "assistant"} for each in turns]
    else:
        turns = [_said("user", plain_text(row, column))]
    if "query" in columns and (extra := optional_text(row, columns["query"])):
        turns[-1]["content"] += f"\n\n{extra}"
    if "system" in columns and (system := optional_text(row, columns["system"])):
        turns = _with_system(turns, system, columns["system"])
    return [*turns, _said("assistant", plain_text(row, columns["response"]))]


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text, "train": True}


def _with_system(turns: list[dict[str, Any]], text: str, column: str) -> list[dict[str, Any]]:
    if turns and turns[0]["role"] == "system":
        raise Unfit(column, text, "two system texts: one of its own, one turn")
    return [_said("system", text), *turns]


def _turns(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[dict[str, Any]]:
    column = columns["messages"]
    given = at(row, column)
    if not isinstance(given, list) or not given:
        raise Unfit(column, given, "must be a list of turns")
    turns = [turn(each, columns, f"{column}[{i}]") for i, each in enumerate(given)]
    if "system" in columns and (system := optional_text(row, columns["system"])):
        turns = _with_system(turns, system, columns["system"])
    if row.get("tools") not in (None, "", [], "[]"):
        raise Unfit("tools", row["tools"], TOOLS_LATER)
    return turns


def turn(given: Any, columns: Mapping[str, str], where: str) -> dict[str, Any]:
    """One turn of a list, `{role, content, train}`; `where` is its place in the row."""
    if not isinstance(given, dict):
        raise Unfit(where, given, "each turn must be an object with a role and a content")
    name = columns["role"]
    role = given.get(name)
    if (isinstance(role, str) and role in TOOLS) or given.get("tool_calls"):
        raise Unfit(f"{where}.{name}", role, TOOLS_LATER)
    if not isinstance(role, str) or role not in ROLES:
        reason = f"must be one of {', '.join(ROLES)}"
        raise Unfit(f"{where}.{name}", role, reason)
    try:
        content = plain_text(given, columns["content"])
    except Unfit as error:
        raise Unfit(f"{where}.{error.field}", error.value, error.reason) from None
    train = given.get(columns["train"], True)
    if train is None:  # Parquet has the field in every turn
        train = True
    if not isinstance(train, bool):
        raise Unfit(f"{where}.{columns['train']}", train, "must be true or false")
    return {"role": ROLES[role], "content": content, "train": train}
