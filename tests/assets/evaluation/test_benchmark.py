"""Scores and intervals from answers, and benchmarks of a real (random) checkpoint in both modes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.evaluation import checks
from assets.evaluation.benchmark import build_benchmarks, score_table
from resources.benchmarks.intervals import paired_difference, wilson
from resources.engines.protocol import Completion
from resources.verifiers.attempts import Attempt, Prompt
from resources.verifiers.verdict import Value, Verdict
from tests.assets.rl import support
from warehouse.store import Store

RECIPE = {
    "model": "super",
    "stage": "sft",
    "samples": 2,
    "max_new_tokens": 8,
    "on": {"temperature": 0.6, "top_p": 0.95},
    "off": {"temperature": 0.0, "top_p": 1.0},
    "domains": ["math", "science"],
}


def answer(problem: int, depth: int, verdict: Value, sample: int = 0) -> Attempt:
    row = {"row_id": problem.to_bytes(16, "big"), "domain": "math", "difficulty": depth}
    completion = Completion("x", [1], "stop", 1, 1, None, 0.0)
    return Attempt(Prompt(row, "on", sample), completion, Verdict(verdict, ""))


def test_wilson_reference_values() -> None:
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(1.0, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_accuracy(counts: tuple[int, int]) -> None:
    correct, count = counts
    low, high = wilson(correct / count, count)
    assert 0 <= low <= correct / count <= high <= 1


def test_paired_difference_is_tighter_than_its_parts() -> None:
    before, after = [0.0, 1.0] * 50, [0.0, 1.0] * 49 + [1.0, 1.0]
    mean, half = paired_difference(before, after)
    assert mean == pytest.approx(0.01) and half < 0.03
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference([1.0], [])


def test_scores_average_over_problems_and_leave_unknown_out() -> None:
    rows = score_table(
        [
            answer(1, 1, "correct"),
            answer(1, 1, "incorrect", 1),
            answer(2, 1, "correct"),
            answer(2, 1, "unknown", 1),
            answer(3, 2, "incorrect"),
            answer(4, 2, "unknown"),
        ],
        "super",
        "sft",
    ).to_pylist()
    found = {(r["benchmark"], r["difficulty"]): (r["accuracy"], r["problems"]) for r in rows}
    assert found["overall", None] == (pytest.approx(0.5), 3)
    assert found["math", 1] == (pytest.approx(0.75), 2)
    assert found["math", 2] == (0.0, 1)
    assert {row["samples"] for row in rows if row["difficulty"] == 1} == {2}


def test_benchmarks_of_a_checkpoint(tmp_path: Path, tiny_llama: Path) -> None:
    import pyarrow as pa

    from warehouse.store import Output

    store = Store(tmp_path)
    tables = [
        support.problems(store, domain, 4, held_out=True).table("problems")
        for domain in ("math", "science", "tools")
    ]
    held_out = support.publish(
        store, "problems/held_out", Output(tables={"problems": pa.concat_tables(tables)}), all=3
    )
    inputs = {"model": support.checkpoint(store, "super/sft", tiny_llama), "held_out": held_out}
    made = support.build(store, "super/sft_benchmarks", build_benchmarks, inputs, RECIPE)
    for check in (checks.accuracies_valid, checks.answers_complete):
        assert check(made, inputs).passed, check(made, inputs).description
    rows = made.table("answers").to_pylist()
    assert len(rows) == 8 * 2 + 8  # two samples with thinking on, greedy once with thinking off
    assert {row["domain"] for row in rows} == {"math", "science"}
    assert list(made.metrics)[:2] == ["accuracy_on", "accuracy_off"]
    assert made.image("accuracy_by_depth").startswith(b"\x89PNG")
    again = support.build(store, "super/sft_benchmarks", build_benchmarks, inputs, RECIPE, "2")
    assert again.data_version == made.data_version
    (took,) = again.observations["requests"]
    assert (took["role"], took["asked"], took["cached"]) == ("evaluation", 0, 24)
