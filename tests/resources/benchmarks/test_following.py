"""IFEval's four accuracies: by hand, and equal to lm-eval's where that is installed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resources.benchmarks import generate
from resources.benchmarks.answers import Answer, Asked
from resources.benchmarks.following import followed
from resources.benchmarks.intervals import wilson
from resources.recipe.sections.benchmark import Benchmark
from resources.verifiers import dispatch

PROTOCOL = Benchmark.model_validate(
    {
        "path": "x",
        "license": "mit",
        "fields": {"prompt": "p"},
        "verifier": "instructions",
        "metadata": {"instruction_id_list": "i", "kwargs": "k"},
    }
)
COMMAS = ("punctuation:no_comma", {})
QUOTED = ("startend:quotation", {})
LOW = ("change_case:english_lowercase", {})
BULLETS = ("detectable_format:number_bullet_lists", {"num_bullets": 2})
SAID = [
    ([COMMAS], "none here"),
    ([COMMAS], "Sure, here it is:\nnone here"),  # loose: without its first line
    ([COMMAS, QUOTED], "none here"),
    ([COMMAS, QUOTED, BULLETS], '"a, b"'),
    ([BULLETS], "* one\n* two\n\nThat is all, friend."),
    ([BULLETS], ""),
    ([QUOTED, LOW], '**"quiet words in the house tonight"**'),  # loose: without asterisks
]


def problem(number: int, instructions: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    names, given = zip(*instructions, strict=True)
    metadata = {"instruction_id_list": names, "kwargs": given}
    return {
        "row_id": bytes([number]) * 16,
        "domain": "instructions",
        "prompt": "Q?",
        "question": "Q?",
        "choices": None,
        "metadata": json.dumps(metadata),
    }


def answers() -> list[Answer]:
    made = []
    for number, (instructions, text) in enumerate(SAID):
        row = problem(number, instructions)
        verdict = dispatch.verify("instructions", text, row)
        numbers = followed(row, text)
        made.append(Answer(row, text, verdict.verdict, verdict.evidence, numbers=numbers))
    return made


def values() -> dict[str, float]:
    made = answers()
    found = generate.measure(made, Asked([each.problem for each in made], [], PROTOCOL))
    assert all(0 <= each.low <= each.value <= each.high <= 1 for each in found)
    assert all(each.share and each.problems == len(SAID) for each in found)
    assert (found[1].low, found[1].high) == wilson(found[1].value, len(SAID))
    return {each.metric: each.value for each in found}


def test_four_accuracies_by_hand() -> None:
    # Strict, instruction by instruction: 1; 0; 1 0; 0 1 0; 1; 0; 0 1. Loose: 1; 1; 1 0; 0 1 0; 1;
    # 0; 1 1.
    assert values() == {
        "accuracy": pytest.approx(2 / 7),
        "accuracy_loose": pytest.approx(4 / 7),
        "accuracy_by_instruction": pytest.approx(5 / 11),
        "accuracy_by_instruction_loose": pytest.approx(7 / 11),
    }


def test_an_unknown_instruction_is_in_none_of_them() -> None:
    row = problem(9, [("a:b", {}), COMMAS])
    assert followed(row, "none here") == {}
    made = [*answers(), Answer(row, "none here", "unknown", "", numbers={})]
    found = generate.measure(made, Asked([each.problem for each in made], [], PROTOCOL))
    assert {each.problems for each in found} == {len(SAID)}


def test_they_are_those_of_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lm_eval")
    nltk = pytest.importorskip("nltk")
    # Its checkers fetch a sentence splitter when they are imported; none of these reads one.
    monkeypatch.setattr(nltk, "download", lambda *_, **__: True)
    theirs = pytest.importorskip("lm_eval.tasks.ifeval.utils")
    scored = []
    for number, (instructions, text) in enumerate(SAID):
        row = problem(number, instructions)
        metadata = json.loads(row["metadata"])
        document = {"key": number, "prompt": row["prompt"], **metadata}
        scored.append(theirs.process_results(document, [text]))
        ours = followed(row, text)
        assert scored[-1]["inst_level_strict_acc"] == ours["strict"], text
        assert scored[-1]["inst_level_loose_acc"] == ours["loose"], text

    def mean(name: str) -> float:
        return sum(each[name] for each in scored) / len(scored)

    def pooled(name: str) -> float:
        return float(theirs.agg_inst_level_acc([each[name] for each in scored]))

    assert values() == {
        "accuracy": pytest.approx(mean("prompt_level_strict_acc")),
        "accuracy_loose": pytest.approx(mean("prompt_level_loose_acc")),
        "accuracy_by_instruction": pytest.approx(pooled("inst_level_strict_acc")),
        "accuracy_by_instruction_loose": pytest.approx(pooled("inst_level_loose_acc")),
    }
