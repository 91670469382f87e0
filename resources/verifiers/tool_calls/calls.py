"""Tool calls as models write them: tagged, bare JSON, OpenAI `tool_calls` or Python calls.

Reads the notation and says which calls stand there. It does not know which tools were offered nor
which calls were wanted, and it evaluates nothing: Python is parsed, its literals are read.
"""

import ast
import json
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from resources.verifiers import fences
from resources.verifiers.verdict import shorten

MOST_CHARACTERS = 200_000  # of an answer; longer ones are not read
_TAG = re.compile(r"<(TOOLCALL|tool_calls?|functioncall)>(.*?)(?:</\1>|\Z)", re.DOTALL)
_OPENED = re.compile(r"<(TOOLCALL|tool_calls?|functioncall)>")
_LABELS = ("json", "jsonl", "python", "py", "tool_code", "tool_call", "tool_calls", "")
_STARTS = 64  # places in prose where JSON is looked for
_BESIDE = {"name", "id", "type", "index", "call_id"}  # keys that a call may have besides arguments
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_LARGEST = 1e300
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Malformed(ValueError):
    """A call is attempted, but what stands there is no call: the answer is wrong."""


class Unreadable(ValueError):
    """What stands there may be right, but cannot be told without running it."""


@dataclass(frozen=True)
class Call:
    """One call. `positional` are arguments without a name, which Python calls may have; `sanitised`
    says that its notation allows no dots in names, so that they stand as `_`."""

    name: str
    arguments: dict[str, Any]
    positional: tuple[Any, ...] = ()
    sanitised: bool = False


def read(answer: str) -> list[Call]:
    """The calls in an answer, in order; none where it makes none.

    Raises Malformed and Unreadable.

    >>> read('<TOOLCALL>[{"name": "add", "arguments": {"a": 1}}]</TOOLCALL>')
    [Call(name='add', arguments={'a': 1}, positional=(), sanitised=False)]
    >>> [call.name for call in read("[math.add(a=1), sub(b=-2)]")], read("I cannot help.")
    (['math.add', 'sub'], [])
    """
    text = answer.strip()
    if len(text) > MOST_CHARACTERS:
        raise Malformed(f"{len(text)} characters are no call")
    if _OPENED.search(text):
        return [call for block in _tagged(text) for call in _block(block)]
    whole = _calls(text)
    if whole is not None:
        return whole
    fenced = [block for block in fences.blocks(text) if block.label in _LABELS]
    found = [call for block in fenced for call in _calls(block.text.strip()) or []]
    return found or _in_prose(text)


def of_json(value: Any) -> list[Call]:
    """The calls that a JSON value stands for. Raises Malformed saying what is none."""
    if isinstance(value, dict):
        for key in ("tool_calls", "function_call"):
            if key in value:
                inner = value[key] or []
                return of_json([inner] if isinstance(inner, dict) else inner)
        return [_call(value, 0)]
    if not isinstance(value, list):
        raise Malformed("not a JSON list of calls")
    return [_call(each, index) for index, each in enumerate(value)]


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


def loads(text: str) -> Any:
    """JSON without repeated keys, NaN and depths that Python cannot read. Raises Malformed."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise Malformed("JSON nested too deeply") from error
    except ValueError as error:
        raise Malformed(str(error)) from error


def _tagged(text: str) -> list[str]:
    if len(_OPENED.findall(text)) != text.count("</TOOLCALL>") + len(
        re.findall(r"</(?:tool_calls?|functioncall)>", text)
    ):
        raise Malformed("a tool call's tag is not closed")
    return [match[2].strip() for match in _TAG.finditer(text)]


def _block(text: str) -> list[Call]:
    """The calls of what stands between tags, or inside nested ones."""
    if _OPENED.search(text):
        return [call for inner in _tagged(text) for call in _block(inner)]
    if text[:1] in "{[" or not text:
        try:
            return of_json(loads(text))
        except Malformed as error:
            found = _python(text)
            if found is None:
                raise error
            return found
    found = _python(text)
    if found is None:
        raise Malformed(f"no call in {shorten(text)!r}")
    return found


def _calls(text: str) -> list[Call] | None:
    """The calls that all of the text is, or None where it is something else."""
    if text[:1] in ("{", "["):
        try:
            value = loads(text)
        except Malformed as error:
            if "twice" in str(error):
                raise
        else:
            return _if_calls(value)
    return _python(text)


def _if_calls(value: Any) -> list[Call] | None:
    """The calls of a value that somebody may have meant as such, or None."""
    first = value[0] if isinstance(value, list) and value else value
    if first == []:
        return []
    if not isinstance(first, dict):
        return None
    given: dict[str, Any] = first["function"] if isinstance(first.get("function"), dict) else first
    named = "name" in given
    meant = {"tool_calls", "function_call"} & first.keys()
    decoded = isinstance(value, list) and _decoded(first)
    if not (meant or decoded or (named and {"arguments", "parameters"} & given.keys())):
        return None
    return of_json(value)


def _decoded(value: dict[str, Any]) -> bool:
    """Whether this is `{name: {argument: value}}`, as BFCL writes calls that it has read."""
    return len(value) == 1 and all(isinstance(each, dict) for each in value.values())


def _call(value: Any, index: int) -> Call:
    wrapped = isinstance(value, dict) and isinstance(value.get("function"), dict)
    given = value["function"] if wrapped else value
    if isinstance(given, dict) and "name" not in given and _decoded(given):
        ((name, arguments),) = given.items()
        return Call(name, arguments)
    keys = [key for key in ("arguments", "parameters") if isinstance(given, dict) and key in given]
    if len(keys) != 1 or not isinstance(given.get("name"), str) or given.keys() - {*keys, *_BESIDE}:
        raise Malformed(f'call {index} is not {{"name": str, "arguments": object}}')
    arguments = given[keys[0]]
    if isinstance(arguments, str):  # OpenAI writes arguments as the text of an object
        arguments = loads(arguments or "{}")
    if not isinstance(arguments, dict):
        raise Malformed(f'call {index} is not {{"name": str, "arguments": object}}')
    return Call(given["name"], arguments, sanitised=wrapped)


def _in_prose(text: str) -> list[Call]:
    """The calls that stand as JSON between other text, or as a line of Python calls in brackets."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    found: list[Call] = []
    place, end = 0, 0
    for _ in range(_STARTS):
        start = re.compile(r"[{\[]").search(text, max(place, end))
        if start is None:
            break
        place = start.start() + 1
        try:
            value, end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        found += _if_calls(value) or []
    if found:
        return found
    lines = [line.strip() for line in text.splitlines()]
    listed = [line for line in lines if line.startswith("[") and line.endswith(")]")]
    return [call for line in listed for call in _python(line) or []]


def _python(text: str) -> list[Call] | None:
    """The calls that all of the text is as Python, or None where it is anything else."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes: list[ast.expr] = []
    for statement in body:
        if not isinstance(statement, ast.Expr):
            return None
        listed = isinstance(statement.value, (ast.List, ast.Tuple))
        nodes += statement.value.elts if listed else [statement.value]  # type: ignore[attr-defined]
    if not nodes or not all(isinstance(node, ast.Call) for node in nodes):
        return None
    found = [_python_call(node) for node in nodes if isinstance(node, ast.Call)]
    return None if None in found else [call for call in found if call]


def _python_call(node: ast.Call) -> Call | None:
    name = _dotted(node.func)
    if name is None:
        return None
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise Unreadable(f"{name} is given **{ast.unparse(keyword.value)[:80]}")
        arguments[keyword.arg] = _literal(keyword.value, keyword.arg)
    return Call(name, arguments, tuple(_literal(each, "an argument") for each in node.args))


def _dotted(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _literal(node: ast.expr, where: str) -> Any:
    """The JSON value of a literal; tuples are lists, sums and products of numbers their value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, type(None))):
        return node.value
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return _WORDS[node.id]
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_literal(each, where) for each in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_literal(key, where) if key else None for key in node.keys]
        if all(isinstance(key, str) for key in keys):
            values = [_literal(value, where) for value in node.values]
            return dict(zip(keys, values, strict=True))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _literal(node.operand, where)
        if _number(value):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = _literal(node.left, where), _literal(node.right, where)
        if _number(left) and _number(right) and (right or not isinstance(node.op, ast.Div)):
            return _ARITHMETIC[type(node.op)](left, right)
    raise Unreadable(f"{where} is `{ast.unparse(node)[:80]}`, which is not a value")


def _number(value: Any) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and abs(value) < _LARGEST


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise Malformed("a key occurs twice in one JSON object")
    return record


def _no_constant(name: str) -> None:
    raise Malformed(f"{name} is not JSON")
