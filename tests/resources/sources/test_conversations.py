"""Conversations come in several shapes; one that does not fit is dropped with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.resources.sources.reading import rows, source


def chat(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def conversations(
    folder: Path, given: list[dict[str, Any]], **more: Any
) -> tuple[list[Any], list[Any]]:
    (folder / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    pq.write_table(pa.Table.from_pylist(given), folder / "c.parquet")
    kept, lost = rows(folder, source("c.jsonl", "conversations", **more))
    assert [turns for turns, _ in kept] == [
        turns for turns, _ in rows(folder, source("c.parquet", "conversations", **more))[0]
    ]
    return [turns for turns, _ in kept], lost


def test_messages_and_sharegpt_and_exchanges(tmp_path: Path) -> None:
    told = chat(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"))
    trained = [{**turn, "train": True} for turn in told]
    assert conversations(tmp_path, [{"messages": told}])[0] == [trained]
    shared = [
        {
            "from": {"user": "human", "assistant": "gpt"}.get(t["role"], t["role"]),
            "value": t["content"],
        }
        for t in told
    ]
    fields = {"messages": "conversations", "role": "from", "content": "value"}
    assert conversations(tmp_path, [{"conversations": shared}], fields=fields)[0] == [trained]
    alpaca = {"instruction": "Add.", "input": "1 2", "output": "3"}
    fields = {"prompt": "instruction", "query": "input", "response": "output"}
    kept, _ = conversations(tmp_path, [alpaca, {**alpaca, "input": ""}], fields=fields)
    assert [turns[0]["content"] for turns in kept] == ["Add.\n\n1 2", "Add."]


def test_a_turn_may_say_that_it_is_not_trained_on(tmp_path: Path) -> None:
    turns = chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    kept, _ = conversations(
        tmp_path, [{"messages": [*turns[:1], {**turns[1], "train": False}, *turns[2:]]}]
    )
    assert [turn["train"] for turn in kept[0]] == [True, False, True, True]
    (tmp_path / "d.jsonl").write_text(
        json.dumps({"messages": [turns[0], {**turns[1], "train": False}]}) + "\n"
    )
    _, lost = rows(tmp_path, source("d.jsonl", "conversations"))
    assert "no assistant turn to train on" in lost[0]["reason"]


USER, REPLY = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    "messages, reason",
    [
        (None, "must be a list of turns"),
        ("[]", "must be a list of turns"),
        ([], "must be a list of turns"),
        ([USER], "the last turn must be the assistant's"),
        ([REPLY, USER], "turns must be user, assistant"),
        ([USER, USER, REPLY], "turns must be user, assistant"),
        ([USER, REPLY, {"role": "system", "content": "s"}], "a system turn can only be the first"),
        ([USER, {"role": "assistant", "content": None}], "must be text, is null"),
        ([USER, {"role": "assistant", "content": ["b"]}], "must be text, is list"),
        ([USER, {"role": "bot", "content": "b"}], "must be one of"),
        ([USER, {"content": "b"}], "must be one of"),
        ([USER, {**REPLY, "train": 0}], "must be true or false"),
        ([USER, {"role": "assistant", "content": "\ud800"}], "lone surrogate"),
        (["a", "b"], "each turn must be an object"),
    ],
)
def test_conversations_that_do_not_fit_are_dropped(
    tmp_path: Path, messages: Any, reason: str
) -> None:
    good = {"messages": [USER, REPLY]}
    (tmp_path / "c.jsonl").write_text(
        json.dumps(good) + "\n" + json.dumps({"messages": messages}) + "\n"
    )
    kept, lost = rows(tmp_path, source("c.jsonl", "conversations"))
    assert [line for _, line in kept] == [1]
    assert lost[0]["line"] == 2 and reason in lost[0]["reason"]
