"""Conversations from rows in the shapes that people have, checked turn by turn.

A row is a list of turns (`messages`, or ShareGPT's `conversations` by declared fields), or one
exchange (a prompt and a response), with or without tools. Knows no template and no tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from resources.chat import calls, hermes
from resources.sources import tool_calls
from resources.sources.fields import Unfit, at, optional_text, plain_text

MESSAGES = pa.list_(
    pa.struct([("role", pa.string()), ("content", pa.string()), ("train", pa.bool_())])
)
# Of a conversation: its turns, the tools offered (JSON) and the calls made, both null where there
# are none, and whether tools and calls stand in the text of the turns instead.
CONVERSATION = [
    ("messages", MESSAGES),
    ("tools", pa.string()),
    ("calls", tool_calls.CALLS),
    ("tagged", pa.bool_()),
]
# ShareGPT's names of the three roles; any other name is rejected, never guessed.
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
_TURN = ("role", "content", "train")
_TOOLS = (*tool_calls.CALLING, *tool_calls.RESULTS)


def conversation(
    row: Mapping[str, Any], columns: Mapping[str, str], as_text: bool = False, sparse: bool = False
) -> dict[str, Any]:
    """A row as `CONVERSATION`: turns of `{role, content, train}`, tools and calls.

    A turn is trained on unless it says not. With `as_text` calls, results and tools are written
    into the turns; `sparse` says that an object's null fields are absent ones. Raises Unfit unless
    the turns are an optional system turn and then user and assistant in turn, ending with an
    assistant turn, one of which is trained on. A turn that calls is followed by its results, and
    those by the assistant again.
    """
    turns = (_exchange if "response" in columns else _turns)(row, columns, sparse)
    spoken = [turn["role"] for turn in turns]
    field = columns.get("messages", columns.get("response", ""))
    if "system" in spoken[1:]:
        raise Unfit(field, spoken, "a system turn can only be the first")
    found = tool_calls.linked(turns) if _use_tools(turns) else []
    order = [
        role
        for index, role in enumerate(spoken)
        if role not in ("system", calls.TOOL) and spoken[max(index - 1, 0)] != calls.TOOL
    ]
    if any(role != ("user", "assistant")[index % 2] for index, role in enumerate(order)):
        raise Unfit(field, spoken, "turns must be user, assistant, user, assistant …")
    if not order or spoken[-1] != "assistant":
        raise Unfit(field, spoken, "the last turn must be the assistant's")
    if not any(turn["train"] for turn in turns if turn["role"] == "assistant"):
        raise Unfit(field, spoken, "no assistant turn to train on: all say `train: false`")
    tools = _tools(row, columns, sparse)
    plain = [{name: turn[name] for name in _TURN} for turn in turns]
    tagged = as_text and bool(found or tools)
    if tagged:
        _unambiguous(turns, found, tools)
        made = hermes.as_text(calls.messages(plain, found), tools)
        plain, found, tools = [{"train": True, **turn} for turn in made], [], None
    return {
        "messages": plain,
        "tools": None if tools is None else json.dumps(tools, ensure_ascii=False),
        "calls": found or None,
        "tagged": tagged,
    }


def _use_tools(turns: Sequence[Mapping[str, Any]]) -> bool:
    return any(turn["calls"] or turn["role"] == calls.TOOL for turn in turns)


def _tools(row: Mapping[str, Any], columns: Mapping[str, str], sparse: bool) -> Any:
    """The tools that a row offers; beside a list of turns a column `tools` has them, if any."""
    if "tools" in columns:
        return tool_calls.offered(at(row, columns["tools"]), columns["tools"], sparse)
    return tool_calls.offered(row.get("tools"), "tools", sparse) if "messages" in columns else None


def _unambiguous(
    turns: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], tools: Any
) -> None:
    """Unfit where what is to stand between tags holds the closing one."""
    parts = [("tools", "tools", json.dumps(tools, ensure_ascii=False))]
    parts += [(turns[call["turn"]]["place"], "call", call["arguments"]) for call in found]
    results = [turns[call["result"]] for call in found if call["result"] is not None]
    parts += [(turn["place"], "result", turn["content"]) for turn in results]
    for place, part, text in parts:
        if hermes.ENDS[part] in text:
            raise Unfit(place, text, f"holds {hermes.ENDS[part]}, which ends a {part} in text")


def _exchange(
    row: Mapping[str, Any], columns: Mapping[str, str], sparse: bool
) -> list[dict[str, Any]]:
    column = columns["prompt"]
    prompt = at(row, column)
    if isinstance(prompt, list):  # what went before the response; nothing of it is learned
        names = {"role": "role", "content": "content", "train": "train"} | dict(columns)
        turns = [_turn(each, names, f"{column}[{i}]", sparse) for i, each in enumerate(prompt)]
        turns = [{**each, "train": each["role"] != "assistant"} for each in turns]
    else:
        turns = [_said("user", plain_text(row, column), column)]
    if "query" in columns and (extra := optional_text(row, columns["query"])):
        turns[-1]["content"] += f"\n\n{extra}"
    if "system" in columns and (system := optional_text(row, columns["system"])):
        turns = _with_system(turns, system, columns["system"])
    column = columns["response"]
    return [*turns, _said("assistant", plain_text(row, column), column)]


def _said(role: str, text: str, place: str) -> dict[str, Any]:
    return {"role": role, "content": text, "train": True, "calls": [], "place": place}


def _with_system(turns: list[dict[str, Any]], text: str, column: str) -> list[dict[str, Any]]:
    if turns and turns[0]["role"] == "system":
        raise Unfit(column, text, "two system texts: one of its own, one turn")
    return [_said("system", text, column), *turns]


def _turns(
    row: Mapping[str, Any], columns: Mapping[str, str], sparse: bool
) -> list[dict[str, Any]]:
    column = columns["messages"]
    given = at(row, column)
    if not isinstance(given, list) or not given:
        raise Unfit(column, given, "must be a list of turns")
    turns = [_turn(each, columns, f"{column}[{i}]", sparse) for i, each in enumerate(given)]
    if "system" in columns and (system := optional_text(row, columns["system"])):
        turns = _with_system(turns, system, columns["system"])
    return turns


def turn(given: Any, columns: Mapping[str, str], where: str) -> dict[str, Any]:
    """One turn of a list, `{role, content, train}`; `where` is its place in the row.

    Raises Unfit for one that calls tools, too.
    """
    found = _turn(given, columns, where, False)
    if _use_tools([found]):
        role = columns["role"]
        raise Unfit(f"{where}.{role}", given[role], "tool calls are read in conversations alone")
    return {name: found[name] for name in _TURN}


def _turn(given: Any, columns: Mapping[str, str], where: str, sparse: bool) -> dict[str, Any]:
    """One turn of a list with its `calls` and `place`, of a result what it `answers` and `tool`."""
    if not isinstance(given, dict):
        raise Unfit(where, given, "each turn must be an object with a role and a content")
    name = columns["role"]
    role = given.get(name)
    if not isinstance(role, str) or role not in {*ROLES, *_TOOLS}:
        reason = f"must be one of {', '.join(ROLES)}; of calls and results {', '.join(_TOOLS)}"
        raise Unfit(f"{where}.{name}", role, reason)
    made = _calls(given, columns, where, role, sparse)
    said = given.get(columns["content"])
    silent = made and (role in tool_calls.CALLING or said is None or not str(said).strip())
    content = "" if silent else _within(given, columns["content"], where)
    train = given.get(columns["train"], True)
    if train is None:  # Parquet has the field in every turn
        train = True
    if not isinstance(train, bool):
        raise Unfit(f"{where}.{columns['train']}", train, "must be true or false")
    spoken = ROLES.get(role, "assistant" if role in tool_calls.CALLING else calls.TOOL)
    found = {"role": spoken, "content": content, "train": train, "calls": made, "place": where}
    if spoken != calls.TOOL:
        return found
    named = {"answers": "tool_call_id", "tool": "name"}
    told = {n: _within(given, f, where) if given.get(f) else None for n, f in named.items()}
    return found | told


def _calls(
    given: Mapping[str, Any], columns: Mapping[str, str], where: str, role: str, sparse: bool
) -> list[dict[str, Any]]:
    """The calls of a turn: a content that is nothing else, or OpenAI's fields beside a content."""
    if role in tool_calls.CALLING:
        column = columns["content"]
        return tool_calls.calls(at(given, column), f"{where}.{column}", sparse)
    there = [name for name in ("tool_calls", "function_call") if given.get(name)]
    if not there:
        return []
    if ROLES.get(role) != "assistant":
        raise Unfit(f"{where}.{there[0]}", given[there[0]], "only the assistant calls tools")
    if len(there) > 1:
        raise Unfit(f"{where}.{there[1]}", given[there[1]], f"calls stand in {there[0]} too")
    return tool_calls.calls(given[there[0]], f"{where}.{there[0]}", sparse)


def _within(given: Mapping[str, Any], column: str, where: str) -> str:
    try:
        return plain_text(given, column)
    except Unfit as error:
        raise Unfit(f"{where}.{error.field}", error.value, error.reason) from None
