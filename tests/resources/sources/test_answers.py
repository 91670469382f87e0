"""Recorded answers and preferences: typed, and never made of what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.resources.sources.reading import rows, source

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
ANSWER = {"question": "q", "expected_answer": "a", "response": "r"}
THOUGHT = "<think>\nOne and one.\n</think>\n\n\\boxed{2}"


def read(
    folder: Path, kind: str, row: Any, fields: Any, **given: Any
) -> tuple[list[Any], list[Any]]:
    (folder / "a.jsonl").write_text(json.dumps(row) + "\n")
    kept, lost = rows(folder, source("a.jsonl", kind, fields=fields, **given))
    return [value for value, _ in kept], lost


def test_thinking_stands_in_the_answer_or_in_a_field(tmp_path: Path) -> None:
    row = {"q": "1+1?", "a": 2, "r": THOUGHT, "t": None, "m": "R1"}
    fields = ANSWER | {"thinking": "t", "model": "m"}
    for change in ({}, {"r": "\\boxed{2}", "t": " One and one. "}):
        (found,), _ = read(tmp_path, "responses", row | change, fields, verifier="math")
        assert (found["response"], found["reasoning"]) == (THOUGHT, "on")
        assert (found["expected_answer"], found["model"]) == ("2", "R1")
    (found,), _ = read(tmp_path, "responses", row | {"r": "2", "t": ""}, fields, verifier="math")
    assert (found["response"], found["reasoning"]) == ("2", "off")
    for change in ({"t": "again"}, {"r": None}, {"r": ["2"]}, {"a": None}, {"m": 7}):
        kept, lost = read(tmp_path, "responses", row | change, fields, verifier="math")
        assert not kept and lost[0]["field"] == next(iter(change))


PAIR = {"prompt": "p", "chosen": "c", "rejected": "r"}
HELLO = [{"role": "user", "content": "Hi"}]


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    "row",
    [
        {"p": "Hi", "c": "Hello!", "r": "What?"},
        {"p": HELLO, "c": "Hello!", "r": "What?"},
        {"p": HELLO, "c": said("Hello!"), "r": said("What?")},
        {"p": "Hi", "c": [*HELLO, said("Hello!")], "r": [*HELLO, said("What?")]},
    ],
)
def test_a_pair_is_read_in_every_published_shape(tmp_path: Path, row: Any) -> None:
    scores = {"chosen_score": "s", "rejected_score": "w"}
    (found,), _ = read(tmp_path, "preferences", row | {"s": 8.5, "w": 3}, PAIR | scores)
    assert found == {
        "prompt": HELLO,
        "chosen": "Hello!",
        "rejected": "What?",
        "chosen_score": 8.5,
        "rejected_score": 3.0,
    }


def test_the_sign_says_which_of_two_is_better(tmp_path: Path) -> None:
    fields = {"prompt": "p", "first": "x", "second": "y", "preference": "n"}
    row = {"p": "Hi", "x": "one", "y": "two"}
    for told, chosen in ((-3, "one"), (1, "two")):
        (found,), _ = read(tmp_path, "preferences", row | {"n": told}, fields)
        assert found["chosen"] == chosen
    for told in (0, None, "1", True):
        kept, lost = read(tmp_path, "preferences", row | {"n": told}, fields)
        assert not kept and lost[0]["field"] == "n"


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"p": "Hi", "c": "same", "r": "same"}, "the same as c"),
        ({"p": "Hi", "c": None, "r": "x"}, "must be text, is null"),
        ({"p": "Hi", "c": "x", "r": 3}, "must be text or a list of turns"),
        ({"p": [said("x")], "c": "x", "r": "y"}, "must end with a user's turn"),
        ({"p": [], "c": "x", "r": "y"}, "must be text or a list of turns"),
        ({"p": "Hi", "c": HELLO, "r": HELLO}, "the last turn must be the assistant's"),
        ({"p": "Hi", "c": [*HELLO, said("a")], "r": "b"}, "follows other turns"),
        ({"p": "Ho", "c": [*HELLO, said("a")], "r": [*HELLO, said("b")]}, "follows other turns"),
    ],
)
def test_what_is_no_pair_is_rejected(tmp_path: Path, row: Any, reason: str) -> None:
    kept, lost = read(tmp_path, "preferences", row, PAIR)
    assert not kept and reason in lost[0]["reason"]


def test_a_prompt_of_turns_is_a_conversation_of_which_the_response_is_learned(
    tmp_path: Path,
) -> None:
    row = {"p": [*HELLO, said("Hello!"), *HELLO], "r": "Again.", "s": "Be brief."}
    fields = {"prompt": "p", "response": "r", "system": "s"}
    (turns,), _ = read(tmp_path, "conversations", row, fields)
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert [t["train"] for t in turns if t["role"] == "assistant"] == [False, True]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data at {REAL}")
def test_public_preferences_are_read_whole() -> None:
    fields = {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"}
    names = {"role": "from", "content": "value"}
    declared = source("preferences/dpo_en_demo.json", "preferences", fields=fields | names)
    kept, lost = rows(REAL, declared)
    assert len(kept) + len(lost) == 300
    assert all(each["reason"] for each in lost) and len(kept) >= 290
