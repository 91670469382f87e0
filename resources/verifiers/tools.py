"""Tool calls: compare the structure of an answer's calls with the expected ones, never the text.

Calls count as a multiset: parallel ones may stand in any order. Order of arguments and white space
do not count, `1` equals `1.0` but not `true`, an optional argument may be left out where it has its
default. What cannot be judged is `unknown`: a truth that nothing fits, a tool of another language.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from resources.verifiers.tool_calls import accepted, calls
from resources.verifiers.tool_calls.calls import Call, Malformed, Unreadable, same
from resources.verifiers.tool_calls.schemas import Tool, offered
from resources.verifiers.verdict import Verdict, shorten


@dataclass(frozen=True)
class Truth:
    """What is expected, and of which tools. `wanted` are calls, or `{name: {parameter: accepted
    values}}` as BFCL writes them; `tools` is None where nobody says what was offered."""

    wanted: Sequence[Call | Mapping[str, Any]]
    tools: Mapping[str, Tool] | None

    @property
    def lists(self) -> bool:
        """Whether it gives lists of accepted values."""
        return any(not isinstance(each, Call) for each in self.wanted)

    def shown(self, index: int) -> str:
        """One expected call as JSON, for evidence."""
        each = self.wanted[index]
        return shorten(json.dumps(_record(each) if isinstance(each, Call) else each))

    def tool(self, name: str) -> Tool | None:
        """The tool of this name, if it is known that it was offered."""
        return self.tools.get(name) if self.tools is not None else None

    def difference(self, call: Call, index: int) -> str | None:
        """Why `call` is not the expected one of this index, or None where it is."""
        want = self.wanted[index]
        if not isinstance(want, Call):
            return accepted.problem(call, want, self.tool(next(iter(want))))
        tool = self.tool(want.name)
        filled = tool.defaults if tool else {}
        alike = call.name == want.name and same(
            filled | call.arguments, filled | dict(want.arguments)
        )
        return None if alike else f"{shorten(json.dumps(_record(call)))}"


def truth(expected_json: str, schema: Any = None) -> Truth:
    """The expected calls and the tools offered. Raises ValueError where no answer could be judged.

    >>> truth('[{"add": {"a": [1], "b": [2, ""]}}]').lists
    True
    """
    return _truth(expected_json, None if schema is None else json.dumps(schema))


@lru_cache(maxsize=4096)  # the samples of a problem share it
def _truth(expected_json: str, schema: str | None) -> Truth:
    try:
        value = calls.loads(expected_json)
        if not isinstance(value, list):
            raise Malformed("not a JSON list of calls")
        wanted = [_wanted(each, index) for index, each in enumerate(value)]
    except ValueError as error:
        raise ValueError(f"expected calls {shorten(expected_json)!r}: {error}") from error
    found = Truth(wanted, None if schema is None else offered(json.loads(schema)))
    for index, each in enumerate(wanted):
        name = each.name if isinstance(each, Call) else next(iter(each))
        if found.tools is not None and name not in found.tools:
            raise ValueError(f"expected call {index}: no tool {shorten(name, 40)!r} was offered")
        problem = _schema_problem(each, found, index) if isinstance(each, Call) else None
        if problem:
            raise ValueError(f"the expected calls do not fit the tools: {problem}")
    if found.lists and any(isinstance(each, Call) for each in wanted):
        raise ValueError(f"expected calls {shorten(expected_json)!r}: two notations in one list")
    return found


def verify(
    response: str, expected_json: str, schema: Any = None, language: str = "python"
) -> Verdict:
    """Compare the calls of `response` with `expected_json`.

    The response holds `<TOOLCALL>` or `<tool_call>` blocks, bare JSON, OpenAI `tool_calls` or
    Python calls. Expected is the JSON of `[{"name", "arguments"}]` or of BFCL's ground truth; `[]`
    expects no call. `schema` holds the tools offered, in any published style: with it, calls to
    other tools and arguments that do not fit are refused by name in the evidence. `language` is
    that of the tools: only Python's values and JSON are judged.

    >>> expected = '[{"name": "add", "arguments": {"a": 1, "b": 2}}]'
    >>> answer = '<TOOLCALL>[{"arguments": {"b": 2, "a": 1}, "name": "add"}]</TOOLCALL>'
    >>> verify(answer, expected).verdict
    'correct'
    >>> verify("[add(b=2, a=1)]", '[{"add": {"a": [1], "b": [2]}}]').verdict
    'correct'
    """
    if language.lower() not in ("python", "json"):
        return Verdict("unknown", f"cannot be judged: the tools are of {language}")
    try:
        expected = truth(expected_json, schema)
    except ValueError as error:
        return Verdict("unknown", f"cannot be judged: {error}")
    try:
        found = [_named(call, expected) for call in calls.read(response)]
        return judge(found, expected)
    except Malformed as error:
        return Verdict("incorrect", str(error))
    except Unreadable as error:
        unwanted = not expected.wanted
        return Verdict("incorrect" if unwanted else "unknown", str(error))
    except ValueError as error:
        return Verdict("unknown", f"cannot be judged: {error}")


def judge(found: Sequence[Call], expected: Truth) -> Verdict:
    """The verdict on calls. Raises ValueError where a schema cannot be followed."""
    if not expected.lists and expected.tools is not None:
        for index, call in enumerate(found):
            problem = _schema_problem(call, expected, index)
            if problem:
                return Verdict("incorrect", problem)
    if not found and not expected.wanted:
        return Verdict("correct", "no call, and none expected")
    if len(found) != len(expected.wanted):
        return Verdict("incorrect", f"{len(found)} calls, expected {len(expected.wanted)}")
    chosen = _matching(len(found), lambda i, j: expected.difference(found[i], j) is None)
    if len(chosen) == len(found):
        return Verdict("correct", f"{len(found)} calls equal the expected ones")
    index = min(set(range(len(found))) - chosen.keys())
    want = min(set(range(len(found))) - set(chosen.values()))
    difference = expected.difference(found[index], want)
    return Verdict("incorrect", f"call {index}: {difference}, expected {expected.shown(want)}")


def _matching(count: int, fits: Callable[[int, int], bool]) -> dict[int, int]:
    """The largest matching of calls to expected ones, in place where possible (Kuhn's algorithm).

    First come, first served would fail where one call fits two expected ones and another only one.
    """
    allowed = [[j for j in range(count) if fits(i, j)] for i in range(count)]
    owner = {i: i for i in range(count) if i in allowed[i]}  # expected -> call

    def place(call: int, tried: set[int]) -> bool:
        for want in allowed[call]:
            if want not in tried:
                tried.add(want)
                if want not in owner or place(owner[want], tried):
                    owner[want] = call
                    return True
        return False

    for call in range(count):
        if call not in owner.values():
            place(call, set())
    return {call: want for want, call in owner.items()}


def _wanted(value: Any, index: int) -> Call | Mapping[str, Any]:
    """One expected call in its own notation. Raises ValueError for what is neither."""
    if isinstance(value, dict) and (len(value) != 1 or "name" in value):
        return calls.of_json([value])[0]
    accepted.check(value, index)
    record: Mapping[str, Any] = value
    return record


def _named(call: Call, expected: Truth) -> Call:
    """The call with the tool's own name and with every argument named."""
    name = call.name
    if call.sanitised and expected.tools and name not in expected.tools:
        dotted = [each for each in expected.tools if each.replace(".", "_") == name]
        name = dotted[0] if len(dotted) == 1 else name
    if not call.positional:
        return Call(name, call.arguments)
    tool = expected.tool(name)
    if tool is None or not tool.checked:
        raise Unreadable(f"{name} is called by position, and its parameters are not known")
    free = tool.parameters[: len(call.positional)]
    if len(free) < len(call.positional) or set(free) & call.arguments.keys():
        raise Malformed(f"{name} is given {len(call.positional)} arguments by position")
    return Call(name, dict(zip(free, call.positional, strict=True)) | call.arguments)


def _schema_problem(call: Call, expected: Truth, index: int) -> str | None:
    if expected.tools is None:
        return None
    tool = expected.tool(call.name)
    if tool is None:
        return f"call {index}: no tool {shorten(call.name, 40)!r} was offered"
    problem = tool.problem(call.arguments)
    return f"call {index} ({call.name}): {problem}" if problem else None


def _record(call: Call) -> dict[str, Any]:
    return {"name": call.name, "arguments": call.arguments}
