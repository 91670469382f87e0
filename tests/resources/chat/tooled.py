"""A conversation with tools, and templates that write all of it or leave some out."""

from __future__ import annotations

from typing import Any

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "rain",
            "description": "Rain of a day.",
            "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
        },
    }
]
_OFFERED = (
    "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>{% endif %}"
)
_CALLS = (
    "{% for call in m.tool_calls or [] %}<call>{{ call.function.name }} "
    "{{ call.function.arguments | tojson }}</call>{% endfor %}"
)
_RESULT = "{% if m.role == 'tool' %}<result>{{ m.content }}</result>{% endif %}"
_TURNS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role != 'tool' %}{{ m.content }}{% endif %}CALLS RESULT{{ '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def template(tools: str = _OFFERED, calls: str = _CALLS, results: str = _RESULT) -> str:
    """Writes all; a part given as "" it leaves out."""
    return tools + _TURNS.replace("CALLS ", calls).replace("RESULT", results)


def call(name: str, arguments: Any, own: str | None = None) -> dict[str, Any]:
    named = {} if own is None else {"id": own}
    return {**named, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversation(words: str = "") -> list[dict[str, Any]]:
    """A question, two calls in one turn, their results, and the answer."""
    calls = [call("rain", {"town": "Łódź"}), call("rain", {"town": "Bergen", "days": [1, None]})]
    return [
        {"role": "user", "content": "Does it rain?"},
        {"role": "assistant", "content": words, "tool_calls": calls},
        {"role": "tool", "name": "rain", "content": '{"mm": 0}'},
        {"role": "tool", "name": "rain", "content": '{"mm": 31}'},
        {"role": "assistant", "content": "In Bergen."},
    ]
