"""Tool calls: compare the structure of the call list with the expected one, never the text.

A response holds one `<TOOLCALL>[{"name": ..., "arguments": {...}}]</TOOLCALL>` block. Order of
calls counts, order of arguments and white space do not, `1` equals `1.0` but not `true`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from resources.verifiers.verdict import Verdict, shorten

_BLOCK = re.compile(r"<TOOLCALL>(.*?)</TOOLCALL>", re.DOTALL)
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def parse(response: str) -> list[dict[str, Any]]:
    """The calls in a response. Raises ValueError saying what is malformed.

    >>> parse('<TOOLCALL>[{"name": "add", "arguments": {"a": 1}}]</TOOLCALL>')
    [{'name': 'add', 'arguments': {'a': 1}}]
    """
    blocks = _BLOCK.findall(response)
    if len(blocks) != 1:
        raise ValueError(f"{len(blocks)} <TOOLCALL> blocks, must be one")
    return _calls(blocks[0])


def verify(
    response: str, expected_json: str, schema: Sequence[Mapping[str, Any]] | None = None
) -> Verdict:
    """Compare the calls of `response` with `expected_json` (the JSON of the call list).

    `schema`: the offered tools, each {"name", "parameters": JSON schema}; with it, calls to other
    tools or with arguments of the wrong type are refused by name in the evidence.
    Raises ValueError when `expected_json` is not a call list.

    >>> expected = '[{"name": "add", "arguments": {"a": 1, "b": 2}}]'
    >>> answer = '<TOOLCALL>[{"arguments": {"b": 2, "a": 1}, "name": "add"}]</TOOLCALL>'
    >>> verify(answer, expected).verdict
    'correct'
    """
    try:
        expected = _calls(expected_json)
    except ValueError as error:
        raise ValueError(f"expected calls {shorten(expected_json)!r}: {error}") from error
    try:
        calls = parse(response)
    except ValueError as error:
        return Verdict("incorrect", str(error))
    if schema is not None:
        problem = _schema_problem(calls, schema)
        if problem:
            return Verdict("incorrect", problem)
    if len(calls) != len(expected):
        return Verdict("incorrect", f"{len(calls)} calls, expected {len(expected)}")
    for index, (call, want) in enumerate(zip(calls, expected, strict=True)):
        if not same(call, want):
            got_text, want_text = shorten(json.dumps(call)), shorten(json.dumps(want))
            return Verdict("incorrect", f"call {index}: {got_text}, expected {want_text}")
    return Verdict("correct", f"{len(calls)} calls equal the expected ones")


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: numbers by value, but booleans are not numbers.

    >>> same({"a": [1]}, {"a": [1.0]}), same(1, True)
    (True, False)
    """
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    return (numbers or type(left) is type(right)) and bool(left == right)


def _calls(text: str) -> list[dict[str, Any]]:
    try:
        calls = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(calls, list):
        raise ValueError("not a JSON list of calls")
    for index, call in enumerate(calls):
        if (
            not isinstance(call, dict)
            or call.keys() != {"name", "arguments"}
            or not isinstance(call["name"], str)
            or not isinstance(call["arguments"], dict)
        ):
            raise ValueError(f'call {index} is not {{"name": str, "arguments": object}}')
    return calls


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key occurs twice in one JSON object")
    return record


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _schema_problem(calls: list[dict[str, Any]], schema: Sequence[Mapping[str, Any]]) -> str | None:
    offered = {tool["name"]: tool.get("parameters", {}) for tool in schema}
    for index, call in enumerate(calls):
        if call["name"] not in offered:
            return f"call {index}: no tool {shorten(call['name'], 40)!r} was offered"
        problem = _value_problem(call["arguments"], offered[call["name"]], "arguments")
        if problem:
            return f"call {index} ({call['name']}): {problem}"
    return None


def _value_problem(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    """The first violation of the subset of JSON schema that tool definitions use, or None."""
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else list(kinds or [])
    if names and not any(_is_a(value, name) for name in names):
        return f"{where} is {type(value).__name__}, must be {' or '.join(names)}"
    if "enum" in schema and not any(same(value, option) for option in schema["enum"]):
        return f"{where} is not one of {schema['enum']}"
    if isinstance(value, list) and "items" in schema:
        items = ((item, f"{where}[{i}]") for i, item in enumerate(value))
        return _first(_value_problem(item, schema["items"], place) for item, place in items)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        missing = [name for name in schema.get("required", []) if name not in value]
        if missing:
            return f"{where} lacks {', '.join(missing)}"
        extra = sorted(value.keys() - properties.keys())
        if extra and schema.get("additionalProperties", not properties) is False:
            return f"{where} has unknown {', '.join(extra)}"
        return _first(
            _value_problem(value[name], properties[name], f"{where}.{name}")
            for name in value
            if name in properties
        )
    return None


def _is_a(value: Any, name: str) -> bool:
    if name not in _TYPES:
        raise ValueError(f"tool schema has type {name!r}; known: {', '.join(_TYPES)}")
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _first(problems: Any) -> str | None:
    return next((problem for problem in problems if problem), None)
