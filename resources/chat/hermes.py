"""Tool conversations as text: calls, results and the list of tools between Hermes' tags.

The tags and their layout are those that Qwen 2.5 and 3 learned with, which took them from Hermes 2
Pro: what Qwen3's template writes of tools is, character for character, what it writes of this text.
So a model whose template has no place for tools can learn them all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from resources.chat import calls as made
from resources.chat.calls import TOOL

# What ends a part, and so cannot stand in it.
ENDS = {"tools": "</tools>", "call": "</tool_call>", "result": "</tool_response>"}
_HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


def as_text(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """Messages with calls and results as plain turns of system, user and assistant.

    The tools go to the end of the system turn, which is made where there is none; calls behind what
    the assistant says; results that follow each other are one turn of the user.

    >>> asked = {"role": "user", "content": "1+1?"}
    >>> call = {"function": {"name": "add", "arguments": {"a": 1}}}
    >>> calling = {"role": "assistant", "content": "", "tool_calls": [call]}
    >>> made = as_text([asked, calling, {"role": "tool", "content": "2"}], None)
    >>> made[1]["content"]
    '<tool_call>\\n{"name": "add", "arguments": {"a": 1}}\\n</tool_call>'
    >>> made[2]
    {'role': 'user', 'content': '<tool_response>\\n2\\n</tool_response>'}
    """
    turns: list[dict[str, Any]] = []
    after_result = False
    for message in spelled(messages, tools):
        result = message["role"] == TOOL
        if result:
            content = f"<tool_response>\n{message['content']}\n</tool_response>"
            message = {**message, "role": "user", "content": content}
        if result and after_result:
            turns[-1]["content"] += f"\n{message['content']}"
        else:
            turns.append(message)
        after_result = result
    return turns


def spelled(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """The same with every turn of its own and results in turns of the tool, as they came.

    This is what conversations are compared by: nothing of a call is outside of a content.
    """
    turns = []
    for message in messages:
        plain = {k: v for k, v in message.items() if k in ("role", "content", "train")}
        written = [call(name, arguments) for name, arguments in made.of(message)]
        plain["content"] = "\n".join([*([plain["content"]] if plain["content"] else []), *written])
        turns.append(plain)
    if not tools:
        return turns
    listed = _HEAD + "".join(f"\n{_json(tool)}" for tool in tools) + _TAIL
    if turns and turns[0]["role"] == "system":
        turns[0]["content"] = f"{turns[0]['content']}\n\n{listed}"
        return turns
    return [{"role": "system", "content": listed}, *turns]


def call(name: str, arguments: Mapping[str, Any]) -> str:
    """One call between its tags."""
    return f"<tool_call>\n{_json({'name': name, 'arguments': arguments})}\n</tool_call>"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
