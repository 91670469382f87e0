"""Methods and verdicts of benchmarks: what a model's answer becomes, by hand and on real parts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resources.benchmarks.answers import Answer, Asked, Measure, Subject
from resources.benchmarks.asking import conversation, text
from resources.benchmarks.generate import accuracy
from resources.benchmarks.intervals import ratio
from resources.benchmarks.methods import method
from resources.benchmarks.verdicts import extracted, judge
from resources.engines.decoding import Step
from resources.engines.protocol import Sampling
from resources.engines.stopping import StopTexts, cut
from resources.execution import Execution
from resources.pretrained.source import BUNDLED
from resources.recipe.sections.benchmark import METHODS, Benchmark

BASE: dict[str, Any] = {"path": "x.jsonl", "license": "mit", "fields": {"question": "q"}}


def protocol(**given: Any) -> Benchmark:
    return Benchmark.model_validate({**BASE, "verifier": "exact", **given})


def problem(number: int = 0, **given: Any) -> dict[str, Any]:
    base = {"row_id": bytes([number]) * 16, "prompt": "Q?", "question": "Q?", "domain": "exact"}
    blank = {
        "expected_answer": None,
        "tests": None,
        "metadata": None,
        "choices": None,
        "gold": None,
    }
    return {**blank, **base, **given}


@pytest.mark.parametrize(
    ("given", "row", "response", "verdict"),
    [
        ({}, {"expected_answer": "4"}, " 4\n", "correct"),
        ({}, {"expected_answer": "4"}, "5", "incorrect"),
        ({}, {"expected_answer": "4"}, "<think>5</think>4", "correct"),
        ({"extract": r"#### (\S+)"}, {"expected_answer": "4"}, "2 #### 3, no #### 4", "correct"),
        ({"extract": r"#### (\S+)"}, {"expected_answer": "4"}, "it is 4", "incorrect"),
        ({"verifier": "math"}, {"expected_answer": "1/2"}, r"so \boxed{0.5}", "correct"),
        ({"verifier": "math"}, {"expected_answer": "1/2"}, "0.5", "incorrect"),
        ({"verifier": "choice", "choices": "c"}, {"expected_answer": "B"}, r"\boxed{b}", "correct"),
        (
            {"verifier": "instructions", "metadata": {"instruction_id_list": "i", "kwargs": "k"}},
            {
                "domain": "instructions",
                "metadata": '{"instruction_id_list": ["a:b"], "kwargs": [{}]}',
            },
            "x",
            "unknown",
        ),
    ],
)
def test_verdicts(given: dict[str, Any], row: dict[str, Any], response: str, verdict: str) -> None:
    (found,) = judge(protocol(**given), [problem(**row)], [response])
    assert found.verdict == verdict, found.evidence


def test_the_last_match_counts_and_its_first_group_that_took_part() -> None:
    assert extracted("(a)|(b)", "a then b") == "b"
    assert extracted("c", "ab") is None


def test_unknown_is_in_no_accuracy() -> None:
    rows = [problem(number) for number in range(3)]
    verdicts = ["correct", "incorrect", "unknown"]
    answers = [Answer(row, "", v, "") for row, v in zip(rows, verdicts, strict=True)]  # type: ignore[arg-type]
    found = accuracy(answers, Asked(rows, [], protocol()))
    assert (found.value, found.problems, found.chance) == (0.5, 2, None)


def test_a_score_whose_interval_holds_chance_is_at_chance() -> None:
    assert Measure("accuracy", 0.3, 0.2, 0.4, 90, chance=0.25).at_chance
    assert not Measure("accuracy", 0.5, 0.4, 0.6, 90, chance=0.25).at_chance
    assert not Measure("accuracy", 0.0, 0.0, 0.1, 90).at_chance


def test_examples_stand_before_the_question() -> None:
    shot = [{"prompt": "1+1?", "target": "2"}]
    asked = Asked([], shot, protocol(system="Count."))
    assert text(asked, problem()) == "Count.\n\n1+1? 2\n\nQ?"
    assert [turn["role"] for turn in conversation(asked, problem())] == [
        "system",
        "user",
        "assistant",
        "user",
    ]


def test_an_answer_ends_before_a_stop_text_however_tokens_cut_it() -> None:
    letters = StopTexts(["\n\nQ"], lambda ids: "".join(map(chr, ids)))
    for character, over in zip("ab\n\nQ", [False] * 4 + [True], strict=True):
        step = Step(np.array([3]), np.array([ord(character)]), None)
        assert letters.over(step).tolist() == [over]
    assert cut("ab\n\nQ: c", ["Q", "\n\n"]) == ("ab", True)
    assert cut("ab", ["Q"]) == ("ab", False)


def test_a_ratio_has_the_interval_of_its_pairs() -> None:
    value, low, high = ratio([1.0, 3.0, 2.0], [1.0, 1.0, 1.0])
    assert value == 2.0 and math.isclose(high - value, 1.959963984540054 / math.sqrt(3))
    assert math.isclose(value - low, high - value)


def run(given: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[list[Answer], list[Measure]]:
    declared = Benchmark.model_validate({**BASE, **given})
    asked = Asked(rows, [{"prompt": "0?", "target": "0"}], declared)
    execution = Execution.of(Execution(), threads=1)
    subject = Subject(Path(BUNDLED) / "nano", "nano", execution)
    answers = method(declared.method).answer(subject, asked, 1)
    return answers, method(declared.method).measure(answers, asked)


def test_every_method_answers_and_measures() -> None:
    rows = [problem(n, prompt=f"What is {n} + 1?", expected_answer=str(n + 1)) for n in range(3)]
    answers, (score,) = run({"verifier": "exact", "max_new_tokens": 8, "thinking": ["off"]}, rows)
    assert len(answers) == 3 and score.problems == 3 and score.reasoning == "off"

    plain = {"verifier": "exact", "style": "plain", "max_new_tokens": 12}
    whole, _ = run(plain, rows)
    first = whole[0].response[0]
    ended, _ = run({**plain, "stop": [first]}, rows)
    assert [each.response for each in ended] == [cut(each.response, [first])[0] for each in whole]

    choices = [{**row, "choices": ["1", "2", "3"], "gold": n} for n, row in enumerate(rows)]
    for style in ("plain", "chat"):
        given = {"method": "loglikelihood", "choices": "c", "style": style}
        answers, (score,) = run(given, choices)
        assert math.isclose(score.chance or 0, 1 / 3)
        for each in answers:
            logs = each.numbers["logprobs"]
            assert len(logs) == 3 and each.response == ["1", "2", "3"][logs.index(max(logs))]

    answers, measures = run({"method": "perplexity"}, rows)
    assert [each.metric for each in measures] == ["perplexity", "bits_per_byte"]
    total = sum(each.numbers["logprob"] for each in answers)
    tokens = sum(each.numbers["tokens"] for each in answers)
    assert math.isclose(measures[0].value, math.exp(-total / tokens))
    assert {each.verdict for each in answers} == {None}


def test_a_prompt_without_room_is_unknown_and_the_others_are_asked() -> None:
    rows = [
        problem(n, prompt="1+1? " * (900 if n == 1 else 1), expected_answer="2") for n in range(3)
    ]
    given = {"verifier": "exact", "max_new_tokens": 2, "samples": 2, "temperature": 0.5}
    answers, (score,) = run(given, rows)
    assert [each.problem["row_id"][0] for each in answers] == [0, 0, 1, 1, 2, 2]
    assert [each.verdict == "unknown" for each in answers] == [False] * 2 + [True] * 2 + [False] * 2
    assert "no room for the prompt" in answers[2].evidence and score.problems == 2
    assert [each.sample_index for each in answers] == [0, 1] * 3


def test_methods_are_those_of_the_schema() -> None:
    assert all(method(name).answer and method(name).measure for name in METHODS)
    assert Sampling(0.0).stop == ()
