"""Tool calls beside plain turns, as tables hold them, and as the messages that templates read.

A call is `{turn, id, name, arguments, result}`: the turn that makes it, the JSON of its arguments,
and the turn that holds its result, None where there is none. Knows no template.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TOOL = "tool"  # the role of a turn that is a call's result


def messages(
    turns: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """Turns (`role`, `content`, …) with their calls, as transformers' templates take them.

    >>> turns = [{"role": "assistant", "content": ""}, {"role": "tool", "content": "3"}]
    >>> call = {"turn": 0, "id": None, "name": "add", "arguments": '{"a": 1}', "result": 1}
    >>> made = messages(turns, [call])
    >>> made[0]["tool_calls"]
    [{'type': 'function', 'function': {'name': 'add', 'arguments': {'a': 1}}}]
    >>> made[1]
    {'role': 'tool', 'content': '3', 'name': 'add'}
    """
    made = [dict(turn) for turn in turns]
    for call in calls or ():
        named = {} if call["id"] is None else {"id": call["id"]}
        function = {"name": call["name"], "arguments": json.loads(call["arguments"])}
        listed = made[call["turn"]].setdefault("tool_calls", [])
        listed.append({**named, "type": "function", "function": function})
        if call["result"] is not None:
            answers = {} if call["id"] is None else {"tool_call_id": call["id"]}
            made[call["result"]] |= {"name": call["name"], **answers}
    return made


def offered(tools: str | None) -> list[dict[str, Any]] | None:
    """The tools that a table holds as JSON; None where there are none."""
    return None if tools is None else json.loads(tools)


def of(message: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and arguments of each call that a message makes."""
    inner = (each.get("function", each) for each in message.get("tool_calls") or ())
    return [(each.get("name", ""), each.get("arguments", {})) for each in inner]


def names(tools: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """What the offered tools are called."""
    return [str(tool.get("function", tool).get("name", "")) for tool in tools or ()]


def values(arguments: Any) -> Iterator[Any]:
    """Every name and every value that stands in the arguments of a call, lists and objects opened.

    >>> list(values({"a": [1, {"b": None}]}))
    ['a', 1, 'b', None]
    """
    if isinstance(arguments, Mapping):
        for name, value in arguments.items():
            yield name
            yield from values(value)
    elif isinstance(arguments, list | tuple):
        for value in arguments:
            yield from values(value)
    else:
        yield arguments


def spellings(value: Any) -> tuple[str, ...]:
    """How a template may write a value: as JSON, as its text, as Python."""
    if isinstance(value, str):
        return (value, *(json.dumps(value, ensure_ascii=each)[1:-1] for each in (False, True)))
    return (json.dumps(value), str(value))
