"""Tools, calls and results of conversations, from rows in the shapes that people have.

Each is checked as it is read: what is no call, names no tool, or answers nothing is why the row is
rejected. Knows single fields and turns; in which order turns may come is in `conversations.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from resources.sources.fields import Unfit, Written, kind, plain_text, refuse

CALL = pa.struct(
    [
        ("turn", pa.int32()),
        ("id", pa.string()),
        ("name", pa.string()),
        ("arguments", pa.string()),
        ("result", pa.int32()),
    ]
)
CALLS = pa.list_(CALL)
# Roles whose content is the JSON of calls (ShareGPT's), and those whose content is a result.
CALLING = ("function_call", "tool_call", "tool_calls")
RESULTS = ("tool", "function", "observation", "tool_response")
DEEPEST = 64  # objects and lists in each other
_OF_CALL = {"id", "type", "index", "function"}
_OF_TOOL = {"type", "function"}
Call = dict[str, Any]


def offered(value: Any, field: str, sparse: bool = False) -> list[dict[str, Any]] | None:
    """The tools that a row offers, each `{type: function, function: {name, …}}`; None without any.

    `value` is a list of descriptions, wrapped so or bare, or the JSON text of one. With `sparse`
    an object's null fields are absent ones. Raises Unfit for what is no description, two tools of
    one name, and numbers that would be written otherwise.
    """
    listed = _json(value, field, sparse)
    if listed in (None, "", []):
        return None
    if not isinstance(listed, list):
        raise Unfit(field, value, f"must be a list of tools or its JSON text, is {kind(listed)}")
    found = [_tool(each, f"{field}[{index}]") for index, each in enumerate(listed)]
    names = [tool["function"]["name"] for tool in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Unfit(f"{field}[{index}]", name, "two tools of one name")
    return found


def _tool(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unfit(field, value, "each tool must be an object with a name")
    inner = value
    if "function" in value:
        inner, place = value["function"], f"{field}.function"
        if not isinstance(inner, dict):
            raise Unfit(place, inner, "must be an object with a name")
        if value.get("type", "function") != "function" or value.keys() - _OF_TOOL:
            raise Unfit(field, value, "must be {type: function, function: {name, …}}, no more")
        field = place
    _named(inner, field)
    parameters = inner.get("parameters", {})
    if parameters is not None and not isinstance(parameters, dict):
        reason = f"must be an object, is {kind(parameters)}"
        raise Unfit(f"{field}.parameters", parameters, reason)
    return {"type": "function", "function": inner}


def calls(value: Any, field: str, sparse: bool = False) -> list[Call]:
    """The calls that a turn makes: one, a list of some, or the JSON text of either.

    A call is `{name, arguments}`, bare or as `function` beside an `id`, its arguments an object or
    the JSON text of one. Raises Unfit for anything else.
    """
    listed = _json(value, field, sparse)
    several = isinstance(listed, list)
    if not listed:
        raise Unfit(field, value, "must be a call or a list of calls, is empty")
    return [
        _call(each, f"{field}[{index}]" if several else field, sparse)
        for index, each in enumerate(listed if several else [listed])
    ]


def _call(value: Any, field: str, sparse: bool) -> Call:
    if not isinstance(value, dict):
        raise Unfit(field, value, f"must be an object with name and arguments, is {kind(value)}")
    inner, place, beside = value, field, {"id", "type", "index"}
    if "function" in value:
        inner, place, beside = value["function"], f"{field}.function", set()
        if not isinstance(inner, dict):
            raise Unfit(place, inner, "must be an object with name and arguments")
        if more := sorted(value.keys() - _OF_CALL):
            raise Unfit(f"{field}.{more[0]}", value[more[0]], "no field of a call")
    if value.get("type", "function") not in ("function", None):
        raise Unfit(f"{field}.type", value["type"], "must be function")
    if more := sorted(inner.keys() - {"name", "arguments"} - beside):
        raise Unfit(f"{place}.{more[0]}", inner[more[0]], "no field of a call")
    own = value.get("id")
    if own is not None and (not isinstance(own, str) or not own):
        raise Unfit(f"{field}.id", own, f"must be text, is {kind(own)}")
    name = _named(inner, place)
    place = f"{place}.arguments"
    arguments = _json(inner.get("arguments"), place, sparse)
    if not isinstance(arguments, dict):
        reason = f"must be an object or its JSON text, is {kind(arguments)}"
        raise Unfit(place, inner.get("arguments"), reason)
    written = json.dumps(arguments, ensure_ascii=False)
    return {"turn": None, "id": own, "name": name, "arguments": written, "result": None}


def _named(value: Mapping[str, Any], field: str) -> str:
    try:
        return plain_text(value, "name")
    except Unfit as error:
        raise Unfit(f"{field}.name", error.value, error.reason) from None


def linked(turns: Sequence[Mapping[str, Any]]) -> list[Call]:
    """The calls of all turns, each with its turn and the turn of its result.

    A turn has its `role` and `place` in the row, the `calls` it makes, and as a result `answers`,
    the id of its call, and `tool`, the name of that: of the calls that wait, the first that both
    allow is answered. Raises Unfit for a result that no call waits for, and for a call that is not
    answered before the conversation goes on.
    """
    made: list[Call] = []
    waiting: list[Call] = []
    for index, turn in enumerate(turns):
        place = turn["place"]
        if turn["role"] == "tool":
            call = _answered(turn, waiting, place)
            call["result"] = index
            waiting.remove(call)
            continue
        if waiting:
            raise Unfit(place, turn["role"], f"the call of {waiting[0]['name']} has no result yet")
        if index and turns[index - 1]["role"] == "tool" and turn["role"] != "assistant":
            raise Unfit(place, turn["role"], "behind a tool's result the assistant must speak")
        waiting = [{**call, "turn": index} for call in turn["calls"]]
        ids = [call["id"] for call in waiting if call["id"] is not None]
        if len(set(ids)) < len(ids):
            raise Unfit(place, ids, "two calls of one id")
        made += waiting
    if waiting and waiting[0]["turn"] != len(turns) - 1:
        name, place = waiting[0]["name"], turns[waiting[0]["turn"]]["place"]
        raise Unfit(place, name, f"the call of {name} has no result, another one has")
    return made


def _answered(turn: Mapping[str, Any], waiting: Sequence[Call], place: str) -> Call:
    """The call that a result is of."""
    own, name = turn["answers"], turn["tool"]
    if not waiting:
        raise Unfit(place, own or name, "a result without a call that waits for one")
    fitting = [
        call
        for call in waiting
        if (own is None or call["id"] == own) and (name is None or call["name"] == name)
    ]
    if not fitting:
        shown = ", ".join(f"{call['name']} ({call['id'] or 'no id'})" for call in waiting)
        raise Unfit(place, own or name, f"the result of no call; there wait {shown}")
    return fitting[0]


def _json(value: Any, field: str, sparse: bool) -> Any:
    """A value, or what its JSON text says, with numbers that are written as they are read."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(
                value, parse_float=Written, parse_constant=_no_number, object_pairs_hook=_unique
            )
        except (ValueError, RecursionError) as error:
            raise Unfit(field, value, f"no JSON: {error}") from None
    elif sparse:
        value = _without_nulls(value)
    refuse(field, value)
    _writable(field, value)
    return value


def _writable(field: str, value: Any, depth: int = 0) -> None:
    """Unfit for a number that would be written with other digits than it came with, and for what
    is nested too deeply to be rendered."""
    if depth > DEEPEST:
        raise Unfit(field, None, f"nested more than {DEEPEST} deep")
    if isinstance(value, Written):
        if Decimal(value.text) != Decimal(repr(float(value))):
            raise Unfit(field, value.text, "a number of more digits than are kept of one")
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _writable(field, each, depth + 1)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")
