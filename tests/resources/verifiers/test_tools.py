"""Tool calls: every notation and style of schema, calls as a multiset, BFCL's own verdicts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import bfcl
from resources.verifiers import tools
from resources.verifiers.tool_calls import calls
from resources.verifiers.tool_calls.schemas import Foreign, offered

A = {"name": "geo.find", "arguments": {"city": "Rome", "limit": 2}}
B = {"name": "geo.find", "arguments": {"city": "Oslo", "limit": 2}}
TWO = json.dumps([A, B])
OPENAI = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {
                "name": each["name"].replace(".", "_"),  # OpenAI allows no dots
                "arguments": json.dumps(each["arguments"]),
            },
        }
        for index, each in enumerate([B, A])
    ],
}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "limit": {"type": "integer", "default": 2}},
    "required": ["city"],
}
TOOL = {"name": "geo.find", "parameters": PARAMETERS}
NOTATIONS = (
    f"<TOOLCALL>{TWO}</TOOLCALL>",
    f"<tool_call>\n{json.dumps(B)}\n</tool_call>\n<tool_call>{json.dumps(A)}</tool_call>",
    "<TOOLCALL>[geo.find(city='Oslo', limit=2), geo.find('Rome', limit=1 + 1)]</TOOLCALL>",
    TWO,
    f"I look for both.\n```json\r\n{TWO}\r\n```\nDone.",
    f"Calling {json.dumps(A)} and {json.dumps(B)} now",
    json.dumps(OPENAI),
    json.dumps(OPENAI["tool_calls"]),
    "geo.find(city='Oslo', limit=2)\ngeo.find(city=\"Rome\")",
    "~~~python\n[geo.find(city='Rome', limit=2), geo.find(city='Oslo')]\n~~~",
    json.dumps([{"geo.find": {"city": "Rome"}}, {"geo.find": {"limit": 2, "city": "Oslo"}}]),
)


@pytest.mark.parametrize("answer", NOTATIONS)
def test_every_notation_is_read_and_order_does_not_count(answer: str) -> None:
    found = tools.verify(answer, TWO, [TOOL])
    assert found.correct, found.evidence
    assert not tools.verify(answer, json.dumps([A, A]), [TOOL]).correct
    assert not tools.verify(answer, json.dumps([A]), [TOOL]).correct
    assert tools.verify(answer, "[]", [TOOL]).verdict == "incorrect"


@pytest.mark.parametrize(
    "answer",
    ["None of these tools helps.", "", "<TOOLCALL>[]</TOOLCALL>", "[]", '{"tool_calls": []}',
     '{"answer": 5}', "See [1] and {x}.", "x = 1", "2 + 2"],
)  # fmt: skip
def test_no_call_is_right_where_none_is_expected(answer: str) -> None:
    assert tools.verify(answer, "[]", [TOOL]).correct
    assert tools.verify(answer, TWO, [TOOL]).verdict == "incorrect"


@pytest.mark.parametrize(
    "answer",
    ['<tool_call>{"name": "geo.find"', '<TOOLCALL>[{"name": "geo.find"}]</TOOLCALL>',
     "<TOOLCALL>hello</TOOLCALL>", '<TOOLCALL>[{"name": "geo.find", "arguments": 5}]</TOOLCALL>',
     '<TOOLCALL>[{"name": "geo.find", "arguments": {"a": NaN}}]</TOOLCALL>'],
)  # fmt: skip
def test_a_malformed_call_is_wrong(answer: str) -> None:
    assert tools.verify(answer, json.dumps([A]), [TOOL]).verdict == "incorrect"


@pytest.mark.parametrize(
    "answer", ["geo.find(city=where)", "geo.find(**given)", "geo.find(city=ask('Rome'))"]
)
def test_an_argument_that_only_running_would_tell_is_unknown(answer: str) -> None:
    assert tools.verify(answer, json.dumps([A]), [TOOL]).verdict == "unknown"
    assert tools.verify(answer, "[]", [TOOL]).verdict == "incorrect"


def test_python_calls_are_not_evaluated(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    answer = f"geo.find(city=open({str(mark)!r}, 'w'))"
    assert tools.verify(answer, json.dumps([A])).verdict == "unknown"
    assert not mark.exists()


def test_a_call_that_fits_two_does_not_take_the_place_of_one_that_fits_one() -> None:
    truth = json.dumps([{"f": {"a": [1, 2]}}, {"f": {"a": [1]}}])
    assert tools.verify("[f(a=1), f(a=2)]", truth).correct
    assert tools.verify("[f(a=2), f(a=1)]", truth).correct
    assert not tools.verify("[f(a=2), f(a=2)]", truth).correct


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_parallel_calls_are_a_multiset(asked: list[int], made: list[int]) -> None:
    expected = json.dumps([{"name": "f", "arguments": {"a": each // 2}} for each in asked])
    answer = f"[{', '.join(f'f(a={each // 2})' for each in made)}]"
    assert tools.verify(answer, expected).correct
    assert not tools.verify(answer.replace("a=1", "a=0", 1), expected).correct


STYLES: dict[str, Any] = {
    "OpenAI": {"type": "function", "function": {"name": "f", "parameters": PARAMETERS}},
    "Anthropic": {"name": "f", "input_schema": PARAMETERS},
    "MCP": {"name": "f", "inputSchema": PARAMETERS},
    "Bedrock": {"toolSpec": {"name": "f", "inputSchema": {"json": PARAMETERS}}},
    "Gemini": {
        "functionDeclarations": [
            {
                "name": "f",
                "parameters": {
                    "type": "OBJECT",
                    "properties": {"city": {"type": "STRING"}, "limit": {"type": "INTEGER"}},
                    "required": ["city"],
                },
            }
        ]
    },
    "BFCL": {"name": "f", "parameters": PARAMETERS | {"type": "dict"}},
    "xLAM": {
        "name": "f",
        "parameters": {
            "city": {"type": "str", "description": "where"},
            "limit": {"type": "int, optional", "description": "how many", "default": 2},
        },
    },
    "required on properties": {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "required": True},
                "limit": {"type": "integer", "required": False, "enum": None},
            },
            "required": None,
        },
    },
}


@pytest.mark.parametrize("style", STYLES)
def test_every_published_style_of_schema_is_checked(style: str) -> None:
    for one in (STYLES[style], [STYLES[style]], json.dumps([STYLES[style]])):
        tool = offered(one)["f"]
        assert tool.problem({"city": "Rome", "limit": 3}) is None
        assert tool.problem({"city": "Rome"}) is None
        assert "city" in (tool.problem({"limit": 3}) or "")
        assert "integer" in (tool.problem({"city": "Rome", "limit": "3"}) or "")
        assert "unasked" in (tool.problem({"city": "Rome", "unasked": 1}) or "")


@pytest.mark.parametrize(
    "kind",
    [
        "dict",
        "float",
        "tuple",
        "any",
        "List[int]",
        "Optional[str]",
        "Union[int, str]",
        "int | None",
        ["string", "null"],
        "STRING",
    ],
)
def test_types_that_are_no_json_schema_are_mapped(kind: object) -> None:
    tool = offered(
        [{"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": kind}}}}]
    )["f"]
    fitting = {"dict": {}, "float": 1, "tuple": [1], "any": None, "List[int]": [1]}
    odd = {"dict": [], "float": "1", "tuple": 1, "List[int]": ["x"]}
    assert (
        tool.problem({"a": fitting.get(str(kind), "x") if kind != "int | None" else None}) is None
    )
    if kind != "any":
        assert tool.problem({"a": odd.get(str(kind), 1.5)}) is not None


def test_what_nobody_says_of_a_tool_is_not_checked() -> None:
    for one in ({"name": "f"}, {"name": "f", "parameters": None}):
        assert offered([one])["f"].problem({"a": 1}) is None


@pytest.mark.parametrize(
    ("expected", "schema", "why"),
    [
        ("{}", None, "not a JSON list"),
        ("[{]", None, "expected calls"),
        ('[{"name": "f"}]', None, "call 0 is not"),
        ('[{"f": {"a": 1}}]', None, "neither"),
        ('[{"f": {"a": [1]}}, {"name": "f", "arguments": {}}]', None, "two notations"),
        ('[{"f": {"a": [1]}}]', [TOOL], "no tool 'f' was offered"),
        ('[{"name": "geo.find", "arguments": {"limit": 2}}]', [TOOL], "do not fit"),
        (json.dumps([A]), [{"parameters": {}}], "no name"),
        (json.dumps([A]), [TOOL | {"parameters": {"type": "wat"}}], "unknown type"),
        (json.dumps([A]), [TOOL | {"parameters": {"properties": {"a": {"enum": 3}}}}], "Schema"),
        (json.dumps([A]), [TOOL | {"parameters": {"$ref": "http://127.0.0.1:9/x"}}], "followed"),
        (json.dumps([A]), [TOOL | {"parameters": {"$ref": "#/nowhere"}}], "followed"),
        (json.dumps([A]), 5, "list of descriptions"),
    ],
)  # fmt: skip
def test_a_truth_that_nothing_can_fit_is_unknown_and_refused(
    expected: str, schema: Any, why: str
) -> None:
    assert tools.verify(NOTATIONS[0], expected, schema).verdict == "unknown"
    with pytest.raises(ValueError, match=why):
        tools.truth(expected, schema)


def test_tools_of_other_languages_are_unknown() -> None:
    java = {"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "HashMap"}}}}
    with pytest.raises(Foreign):
        offered([java])
    truth = '[{"f": {"a": [{}]}}]'
    assert tools.verify("f(a={})", truth, [java]).verdict == "unknown"
    assert tools.verify("f(a={})", truth, language="JavaScript").verdict == "unknown"
    noted = {
        "name": "f",
        "description": "Note that it is in Java 8 SDK syntax.",
        "parameters": {"x": {"type": "any"}},
    }
    with pytest.raises(Foreign):
        offered([noted])


def test_deep_and_long_answers_are_read_or_refused() -> None:
    for answer in ("[" * 100_000, "f(" * 5000, "x" * 300_000, '{"a":' * 50_000, "[{" * 500):
        assert tools.verify(answer, json.dumps([A])).verdict == "incorrect"


@given(st.text(max_size=200))
def test_any_text_has_a_verdict(answer: str) -> None:
    assert tools.verify(answer, TWO, [TOOL]).verdict in ("incorrect", "unknown")


@pytest.mark.skipif(bfcl.WHEEL not in os.environ, reason=f"{bfcl.WHEEL} names no wheel")
def test_verdicts_equal_those_of_bfcl() -> None:
    with bfcl.unpacked(Path(os.environ[bfcl.WHEEL])) as folder:
        _, differing = bfcl.compare(folder, step=25)
        assert differing == []
        assert bfcl.irrelevance(folder) == "240/240 refusals correct, 240/240 calls incorrect"


def test_names_with_dots_are_told_from_their_stand_ins_only_where_that_is_sure() -> None:
    both = [TOOL, TOOL | {"name": "geo_find"}]
    assert calls.read(json.dumps(OPENAI))[0].name == "geo_find"
    assert tools.verify(json.dumps(OPENAI), TWO, both).verdict == "incorrect"
