"""Contaminated questions are found by text and by long runs of words, and by nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from assets.sft_data.decontaminate import matches

DATA = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
LONG = "a farmer has twelve red hens and nine brown ducks in the old barn near the river bank"


def table(*questions: str) -> pa.Table:
    return pa.table({"row_id": list(range(len(questions))), "question": list(questions)})


def test_the_same_text_in_other_case_spacing_and_width() -> None:
    found = matches(table("Is \uff13 > 2?", "other"), table("x", "is  3 > 2?")).to_pylist()
    assert found == [
        {"row_id": 0, "matched_row_id": 1, "method": "exact", "score": 1.0, "evidence": "is 3 > 2?"}
    ]


def test_operators_tell_questions_apart() -> None:
    assert (
        matches(table("3 + 4 * 5 - 6 + 7 * 8 - 9"), table("3 - 4 * 5 - 6 + 7 / 8 - 9")).num_rows
        == 0
    )


def test_long_runs_of_words_and_the_strongest_method_first() -> None:
    eight = "Once upon a time nine brown ducks in the old barn near a lake were counted"
    thirteen = f"Listen, {LONG.split(' river')[0]} pond. How many?"
    found = matches(table(eight, thirteen, "nine brown ducks in the new barn"), table(LONG))
    rows = found.to_pylist()
    assert [(row["row_id"], row["method"]) for row in rows] == [(0, "ngram_8"), (1, "ngram_13")]
    assert rows[0]["evidence"] == "nine brown ducks in the old barn near"
    assert rows[0]["score"] == pytest.approx(1 / 11)


def test_short_benchmark_questions_match_as_a_whole() -> None:
    short = "how many primes below fifty"
    found = matches(table(f"Tell me: {short}, please, and say why it is so"), table(short, "why"))
    assert found.to_pylist()[0]["score"] == 1.0
    assert (
        matches(table("tell me why it is so and nothing else at all"), table("why")).num_rows == 0
    )


def test_nothing_to_compare() -> None:
    assert matches(table(), table("a")).num_rows == 0
    assert matches(table("a"), table()).num_rows == 0


@pytest.mark.skipif(not (DATA / "gsm8k").exists(), reason="no GSM8K data here")
def test_gsm8k_train_against_test() -> None:
    """Published: about 0.9 % of the training questions share 8 words with a test question."""
    texts = [
        [json.loads(line)["question"] for line in (DATA / "gsm8k" / f"{name}.jsonl").open()]
        for name in ("train", "test")
    ]
    found = matches(table(*texts[0]), table(*texts[1]))
    assert 0.002 < found.num_rows / len(texts[0]) < 0.02
