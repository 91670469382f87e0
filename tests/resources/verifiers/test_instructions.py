"""The 25 instructions of IFEval: followed and not followed, strict and loose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from resources.verifiers import instructions, words
from resources.verifiers.instructions import INSTRUCTIONS, verify

DATA = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))

CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["mom", "C++"]}, ["A MOMENT of c++"], ["mom", "c++"]),
    ("keywords:frequency", {"keyword": "war ", "frequency": 2, "relation": "at least"},
     ["War and warfare"], ["war"]),
    ("keywords:frequency", {"keyword": "war", "frequency": 2, "relation": "less than"},
     ["war"], ["warwar"]),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, ["rocks"], ["Rock!"]),
    ("keywords:letter_frequency",
     {"letter": "T", "let_frequency": 2, "let_relation": "at least"}, ["tT"], ["t"]),
    ("keywords:letter_frequency",
     {"letter": "#", "let_frequency": 1, "let_relation": "less than"}, ["a"], ["#"]),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"},
     ["One. Two? Three!", "Dr. A went. Then B. And c..."], ["Dr. Who is at 3.5 km. Yes."]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2},
     ["a\n***\nb", "***\na\n***\nb\n***"], ["a\n\nb", "a *** *** b", "a"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"},
     ["two words"], ["it's two words"]),
    ("length_constraints:nth_paragraph_first_word",
     {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Weekend"},
     ["a\n\nweekend, b", "a\n\n'Weekend' b\n\n"],
     ["a\n\nb weekend", "weekend", "a\n\n\n\nweekend"]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2},
     ["[a] and [b c]"], ["[a", "[a]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."},
     ["a\nP.S. b", "p. s. x"], ["P.P.S", "PS b"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"},
     ["P.P.S b", "p. p. s"], ["P.S. b"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2},
     ["* a\n* b", "- a\n  * b"], ["* a", "**a**\n**b**", "* a\n* b\n- c"]),
    ("detectable_format:constrained_response", {}, ["So: My answer is no."], ["no"]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2},
     ["*a* *b*", "**a**\n**b**"], ["*a*", "** **"]),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     ["SECTION 1\na\nSECTION 2\nb"], ["SECTION 1", "Section 1\nSection 2"]),
    ("detectable_format:json_format", {}, ['{"a": 1}', "```json\n[1]\n```", "```\n1\n```"],
     ["{a: 1}", 'x {"a": 1}']),
    ("detectable_format:title", {}, ["<<poem of joy>>"], ["<< >>", "<a>"]),
    ("combination:two_responses", {}, ["a\n******\nb", "******a******b"],
     ["a******a", "a", "a******b******c", "a************b"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, [" say hi. Hi"], ["Hi."]),
    ("startend:end_checker", {"end_phrase": "The end."}, ['x "the END."', "The end. "], ["end"]),
    ("startend:quotation", {}, [' "a" '], ['"', '"a', "'a'"]),
    ("change_case:capital_word_frequency",
     {"capital_frequency": 2, "capital_relation": "at least"},
     ["NASA is WELL-MADE.", "I AM"], ["NASA", "Nasa Is Here"]),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
]  # fmt: skip
NEED_LANGUAGE = {
    "language:response_language",
    "change_case:english_capital",
    "change_case:english_lowercase",
}


def test_all_25_are_there() -> None:
    assert len(INSTRUCTIONS) == 25
    assert {name for name, *_ in CASES} | NEED_LANGUAGE == set(INSTRUCTIONS)


@pytest.mark.parametrize(("name", "kwargs", "followed", "broken"), CASES)
def test_followed_or_not(
    name: str, kwargs: dict[str, Any], followed: list[str], broken: list[str]
) -> None:
    given = {**kwargs, "unused": None}
    assert [verify(text, [name], [given]) for text in followed] == [[True]] * len(followed)
    assert [verify(text, [name], [given]) for text in broken] == [[False]] * len(broken)
    assert verify(" \n", [name], [given]) == [False]


def test_several_at_once_and_loose() -> None:
    response = "Sure, here it is:\n**no commas here**"
    ids, kwargs = ["punctuation:no_comma", "startend:end_checker"], [{}, {"end_phrase": "here"}]
    assert verify(response, ids, kwargs) == [False, False]
    assert verify(response, ids, kwargs, loose=True) == [True, True]


def test_the_prompt_stands_in_for_what_to_repeat() -> None:
    assert verify("Say hi. Hi", ["combination:repeat_prompt"], [{}], prompt="Say hi.") == [True]


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown instruction 'a:b'"):
        verify("x", ["a:b"], [{}])
    with pytest.raises(ValueError, match="num_words"):
        verify("x", ["length_constraints:number_words"], [{"relation": "at least"}])
    with pytest.raises(ValueError, match="'at most'"):
        verify("x", ["length_constraints:number_words"], [{"num_words": 1, "relation": "at most"}])
    with pytest.raises(ValueError, match="give one each"):
        verify("x", ["punctuation:no_comma"], [])


def test_languages_are_told_the_same_way_each_time() -> None:
    german = "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter von heute."
    asked = ["language:response_language"], [{"language": "de"}]
    assert [verify(german, *asked) for _ in range(3)] == [[True]] * 3
    assert verify(german, ["change_case:english_lowercase"], [{}]) == [False]


def test_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "_language", lambda text: "de" if "ich" in text else "en")
    assert verify("ich", ["language:response_language"], [{"language": "de"}]) == [True]
    assert verify("ich", ["change_case:english_lowercase"], [{}]) == [False]
    assert verify("YES", ["change_case:english_capital"], [{}]) == [True]


def test_sentences() -> None:
    text = 'He said "Stop!" and left. Mr. B. Smith (U.S.) paid $3.50. 1. First\n2. Second... or so?'
    assert words.sentences(text) == [
        'He said "Stop!"',
        "and left.",
        "Mr. B. Smith (U.S.) paid $3.50.",
        "1.",
        "First\n2.",
        "Second... or so?",
    ]


@pytest.mark.skipif(not (DATA / "ifeval").exists(), reason="no IFEval data here")
def test_every_benchmark_prompt_can_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "_language", lambda text: "en")
    with (DATA / "ifeval" / "input_data.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        got = verify("Some answer.", row["instruction_id_list"], row["kwargs"], row["prompt"], True)
        assert len(got) == len(row["instruction_id_list"])
    assert len(rows) == 541
