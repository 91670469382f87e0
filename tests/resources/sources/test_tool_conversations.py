"""Conversations with tools in several shapes mean the same; what is unsound is rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.chat import calls
from resources.recipe.sections.data import Source
from resources.sources.conversations import CONVERSATION, conversation
from resources.sources.fields import Unfit
from tests.resources.sources.reading import conversations, rows, source

USER, REPLY = {"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "No."}
CALL = {"name": "rain", "arguments": {"town": "Łódź", "days": 2}}
OPENAI = {
    "id": "c1",
    "type": "function",
    "function": {**CALL, "arguments": json.dumps(CALL["arguments"])},
}
CALLING = {"role": "assistant", "content": None, "tool_calls": [OPENAI]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "0 mm"}
TOOL = {"name": "rain", "description": "Rain.", "parameters": {"type": "object"}}
WRAPPED = {"type": "function", "function": TOOL}
SHAREGPT = {"messages": "conversations", "role": "from", "content": "value"}


def read(folder: Path, row: dict[str, Any], **more: Any) -> dict[str, Any]:
    (folder / "c.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = conversations(folder, source("c.jsonl", "conversations", **more))
    return found


def shared(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": role, "value": text} for role, text in turns]


def told(found: dict[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]], Any]:
    """Turns, calls and tools of a row as it was read."""
    turns = [(turn["role"], turn["content"]) for turn in found["messages"]]
    made = [(c["turn"], c["name"], json.loads(c["arguments"]), c["result"]) for c in found["calls"]]
    return turns, made, json.loads(found["tools"]) if found["tools"] else None


def test_shapes_of_one_conversation_are_read_alike(tmp_path: Path) -> None:
    turns = [("user", "Rain?"), ("assistant", ""), ("tool", "0 mm"), ("assistant", "No.")]
    right = (turns, [(1, "rain", CALL["arguments"], 2)], [WRAPPED])
    openai = [USER, CALLING, RESULT, REPLY]
    assert told(read(tmp_path, {"messages": openai, "tools": [WRAPPED]})) == right
    assert told(read(tmp_path, {"messages": openai, "tools": json.dumps([TOOL])})) == right
    older = [
        USER,
        {"role": "assistant", "content": "", "function_call": OPENAI["function"]},
        {"role": "function", "name": "rain", "content": "0 mm"},
        REPLY,
    ]
    assert told(read(tmp_path, {"messages": older, "tools": [TOOL]})) == right
    bare = [
        USER,
        {"role": "assistant", "tool_calls": json.dumps([CALL])},
        {**RESULT, "tool_call_id": None},
        REPLY,
    ]
    assert told(read(tmp_path, {"messages": bare, "tools": [TOOL]})) == right
    glaive = shared(
        ("human", "Rain?"),
        ("function_call", json.dumps(CALL)),
        ("observation", "0 mm"),
        ("gpt", "No."),
    )
    row = {"conversations": glaive, "tools": json.dumps([TOOL])}
    assert told(read(tmp_path, row, fields=SHAREGPT)) == right
    named = {"conversations": glaive, "functions": [TOOL]}
    assert told(read(tmp_path, named, fields={**SHAREGPT, "tools": "functions"})) == right
    (one,) = read(tmp_path, {"messages": openai, "tools": [TOOL]})["calls"]
    assert one["id"] == "c1"


def test_in_parquet_a_null_field_of_a_call_is_an_absent_one(tmp_path: Path) -> None:
    def row(name: str, **arguments: Any) -> dict[str, Any]:
        made = [{"function": {"name": name, "arguments": arguments}}]
        given = {"properties": {each: {"type": "string"} for each in arguments}}
        return {
            "messages": [USER, {"role": "assistant", "content": None, "tool_calls": made}],
            "tools": [{"name": name, "parameters": given}],
        }

    pq.write_table(pa.Table.from_pylist([row("f", a="x"), row("g", b="y")]), tmp_path / "c.parquet")
    found = conversations(tmp_path, source("c.parquet", "conversations"))
    assert [told(each)[1][0][2] for each in found] == [{"a": "x"}, {"b": "y"}]
    listed = [told(each)[2][0]["function"]["parameters"]["properties"] for each in found]
    assert listed == [{"a": {"type": "string"}}, {"b": {"type": "string"}}]
    (tmp_path / "c.jsonl").write_text(json.dumps(row("f", a=None)) + "\n")
    (kept,) = conversations(tmp_path, source("c.jsonl", "conversations"))
    assert told(kept)[1][0][2] == {"a": None}


def test_results_find_their_calls_by_id_and_by_name_and_else_in_order(tmp_path: Path) -> None:
    def answered(*results: dict[str, Any], ids: bool = True) -> list[Any]:
        made = [{"name": name, "arguments": {}} for name in ("f", "g")]
        named = [{"id": f"c{i}", "function": call} for i, call in enumerate(made)]
        calling = {"role": "assistant", "content": "", "tool_calls": named if ids else made}
        given = [{"role": "tool", "content": "r", **each} for each in results]
        found = read(tmp_path, {"messages": [USER, calling, *given, REPLY]})
        return [call["result"] for call in found["calls"]]

    assert answered({"tool_call_id": "c1"}, {"tool_call_id": "c0"}) == [3, 2]
    assert answered({"name": "g"}, {"name": "f"}, ids=False) == [3, 2]
    assert answered({}, {}) == [2, 3]


def test_numbers_are_kept_or_refused(tmp_path: Path) -> None:
    def of(text: str) -> dict[str, Any]:
        call = '{"name": "f", "arguments": {"a": NUMBER}}'.replace("NUMBER", text)
        made = {"role": "assistant", "content": "", "function_call": "CALL"}
        row = json.dumps({"messages": [USER, made]}).replace('"CALL"', call)
        (tmp_path / "c.jsonl").write_text(row + "\n")
        kept, lost = rows(tmp_path, source("c.jsonl", "conversations"))
        assert len(kept) + len(lost) == 1
        if lost:
            return dict(lost[0])
        (found,) = conversations(tmp_path, source("c.jsonl", "conversations"))
        return dict(json.loads(found["calls"][0]["arguments"]))

    assert of("0.10") == {"a": 0.1} and of("10000000000000001") == {"a": 10000000000000001}
    for text in ("1e400", "0.12345678901234567891"):
        lost = of(text)
        assert lost["field"] == "messages[1].function_call"
        assert "more digits than are kept" in lost["reason"] and lost["value"] == json.dumps(text)


def calling(call: Any) -> list[Any]:
    return [USER, {"role": "assistant", "content": "", "tool_calls": call}]


@pytest.mark.parametrize(
    ("messages", "field", "reason"),
    [
        (calling([1]), "~[0]", "must be an object with name and arguments"),
        (calling({"name": "f", "arguments": "{"}), "~.arguments", "no JSON"),
        (calling({"name": "f", "arguments": "[1]"}), "~.arguments", "is list"),
        (calling({"name": "f", "arguments": '{"a": 1, "a": 2}'}), "~.arguments", "stands twice"),
        (calling({"name": "f", "arguments": '{"a": NaN}'}), "~.arguments", "NaN is no number"),
        (calling({"name": "f"}), "~.arguments", "is null"),
        (calling({"name": "f", "arguments": 3}), "~.arguments", "is int"),
        (calling({"name": 3, "arguments": {}}), "~.name", "must be text"),
        (calling({"arguments": {}}), "~.name", "no such field"),
        (calling({"name": "f", "arguments": {}, "args": {}}), "~.args", "no field of a call"),
        (
            calling({"type": "code", "function": {"name": "f", "arguments": {}}}),
            "~.type",
            "must be function",
        ),
        (calling({"id": 3, "function": {"name": "f", "arguments": {}}}), "~.id", "must be text"),
        (calling("call f"), "~", "no JSON"),
        (
            [USER, {**CALLING, "function_call": CALL}],
            "messages[1].function_call",
            "calls stand in tool_calls too",
        ),
        (
            [{**USER, "tool_calls": [OPENAI]}, REPLY],
            "messages[0].tool_calls",
            "only the assistant calls",
        ),
        (
            [USER, {"role": "function_call", "content": "rain"}, RESULT, REPLY],
            "messages[1].content",
            "no JSON",
        ),
        (
            [USER, {"role": "function_call", "content": "{}"}, RESULT, REPLY],
            "messages[1].content",
            "is empty",
        ),
        (
            [USER, {**CALLING, "content": ["x"]}, RESULT, REPLY],
            "messages[1].content",
            "must be text",
        ),
        ([USER, RESULT, REPLY], "messages[1]", "a result without a call"),
        ([USER, REPLY, RESULT, REPLY], "messages[2]", "a result without a call"),
        ([USER, CALLING, RESULT, RESULT, REPLY], "messages[3]", "a result without a call"),
        (
            [USER, CALLING, {**RESULT, "tool_call_id": "c2"}, REPLY],
            "messages[2]",
            "the result of no call; there wait rain (c1)",
        ),
        (
            [USER, CALLING, {**RESULT, "name": "snow"}, REPLY],
            "messages[2]",
            "the result of no call",
        ),
        (
            [USER, CALLING, {**RESULT, "content": {"mm": 0}}, REPLY],
            "messages[2].content",
            "must be text, is dict",
        ),
        (
            [USER, CALLING, {**RESULT, "tool_call_id": 1}, REPLY],
            "messages[2].tool_call_id",
            "must be text",
        ),
        ([USER, CALLING, REPLY], "messages[2]", "the call of rain has no result yet"),
        ([USER, CALLING, USER, REPLY], "messages[2]", "the call of rain has no result yet"),
        (
            [USER, CALLING, RESULT, USER, REPLY],
            "messages[3]",
            "behind a tool's result the assistant",
        ),
        ([USER, CALLING, RESULT], "messages", "the last turn must be the assistant's"),
        (calling([OPENAI, OPENAI]), "messages[1]", "two calls of one id"),
        ([USER, REPLY, CALLING], "messages", "turns must be user, assistant"),
        ([USER, {"role": "ipython", "content": "x"}], "messages[1].role", "must be one of"),
    ],
)
@pytest.mark.parametrize("tools", ["template", "text"])
def test_unsound_calls_and_results_are_rejected(
    tmp_path: Path, messages: Any, field: str, reason: str, tools: str
) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    kept, (lost,) = rows(tmp_path, source("c.jsonl", "conversations", tools=tools))
    assert not kept and lost["line"] == 1
    field = field.replace("~", "messages[1].tool_calls")
    assert lost["field"] == field and reason in lost["reason"], lost


@pytest.mark.parametrize(
    ("tools", "field", "reason"),
    [
        ("rain", "tools", "no JSON"),
        ({"name": "f"}, "tools", "must be a list of tools"),
        ([3], "tools[0]", "each tool must be an object"),
        ([{"description": "x"}], "tools[0].name", "no such field"),
        ([TOOL, WRAPPED], "tools[1]", "two tools of one name"),
        ([{"name": "f", "parameters": []}], "tools[0].parameters", "must be an object"),
        ([{"type": "retrieval", "function": TOOL}], "tools[0]", "must be {type: function"),
        ([{"type": "function", "function": "f"}], "tools[0].function", "must be an object"),
        ('[{"name": "f", "name": "g"}]', "tools", "stands twice"),
    ],
)
def test_lists_that_offer_no_tools_are_rejected(
    tmp_path: Path, tools: Any, field: str, reason: str
) -> None:
    (tmp_path / "c.jsonl").write_text(
        json.dumps({"messages": [USER, REPLY], "tools": tools}) + "\n"
    )
    kept, (lost,) = rows(tmp_path, source("c.jsonl", "conversations"))
    assert not kept and lost["field"] == field and reason in lost["reason"], lost


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["{}", "[]", '{"name": "f", "arguments": {}}', "f", "c1", "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "arguments", "function", "type", "id", "parameters", "x"]),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "function_call", "observation"])},
    optional={
        "content": JSON,
        "tool_calls": JSON | st.just([OPENAI]),
        "function_call": JSON,
        "tool_call_id": JSON,
        "name": JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(
    turns=st.lists(TURN | st.sampled_from([USER, REPLY, CALLING, RESULT]), max_size=5),
    tools=JSON | st.just([TOOL]),
    as_text=st.booleans(),
    sparse=st.booleans(),
)
def test_any_row_is_read_or_says_why_not(
    turns: list[Any], tools: Any, as_text: bool, sparse: bool
) -> None:
    columns = source("c.jsonl", "conversations").columns
    try:
        found = conversation({"messages": turns, "tools": tools}, columns, as_text, sparse)
    except Unfit as error:
        assert error.field and error.reason
        return
    pa.array([found], pa.struct(CONVERSATION))
    assert found["messages"][-1]["role"] == "assistant"
    made = calls.messages(found["messages"], found["calls"])
    assert sum(len(calls.of(turn)) for turn in made) == len(found["calls"] or [])
    assert not (as_text and (found["tools"] or found["calls"]))


def test_what_is_nested_too_deeply_is_rejected(tmp_path: Path) -> None:
    deep = "[" * 90 + "]" * 90
    call = {"name": "f", "arguments": f'{{"a": {deep}}}'}
    (tmp_path / "c.jsonl").write_text(json.dumps({"messages": calling(call)}) + "\n")
    _, (lost,) = rows(tmp_path, source("c.jsonl", "conversations"))
    assert lost["reason"] == "nested more than 64 deep"


def test_as_text_all_stands_in_the_turns(tmp_path: Path) -> None:
    row = {"messages": [USER, CALLING, RESULT, REPLY], "tools": [TOOL]}
    found = read(tmp_path, row, tools="text")
    assert found["tagged"] and found["tools"] is None and found["calls"] is None
    assert [turn["role"] for turn in found["messages"]] == [
        "system", "user", "assistant", "user", "assistant"
    ]  # fmt: skip
    assert all(turn["train"] for turn in found["messages"])
    system, _, call, result, _ = (turn["content"] for turn in found["messages"])
    assert json.dumps(WRAPPED) in system
    assert call == f"<tool_call>\n{json.dumps(CALL, ensure_ascii=False)}\n</tool_call>"
    assert result == "<tool_response>\n0 mm\n</tool_response>"
    plain = read(tmp_path, {"messages": [USER, REPLY], "tools": []}, tools="text")
    assert not plain["tagged"] and plain == read(tmp_path, {"messages": [USER, REPLY]})
    ending = {**row, "messages": [USER, CALLING, {**RESULT, "content": "</tool_response>"}, REPLY]}
    (tmp_path / "c.jsonl").write_text(json.dumps(ending) + "\n")
    _, (lost,) = rows(tmp_path, source("c.jsonl", "conversations", tools="text"))
    assert lost["field"] == "messages[2]" and "which ends a result in text" in lost["reason"]
    assert len(rows(tmp_path, source("c.jsonl", "conversations"))[0]) == 1


def test_an_exchange_has_the_tools_that_are_mapped(tmp_path: Path) -> None:
    fields = {"prompt": "turns", "response": "said"}
    row = {"turns": [USER, CALLING, RESULT], "said": "No.", "tools": "a hammer"}
    found = read(tmp_path, row, fields=fields)
    assert found["tools"] is None and found["calls"][0]["result"] == 2
    assert [turn["train"] for turn in found["messages"]] == [True, False, True, True]
    mapped = read(tmp_path, {**row, "tools": [TOOL]}, fields={**fields, "tools": "tools"})
    assert json.loads(mapped["tools"]) == [WRAPPED]


def test_what_is_absent_is_not_written_down() -> None:
    given = {"kind": "conversations", "path": "c.jsonl", "license": "mit"}
    assert Source.model_validate(given).read_as == given
    assert Source.model_validate({**given, "tools": "template"}).read_as == given
    assert Source.model_validate({**given, "tools": "text"}).read_as == {**given, "tools": "text"}
    with pytest.raises(ValueError, match="tools is for conversations"):
        Source.model_validate({**given, "kind": "text", "tools": "text"})
