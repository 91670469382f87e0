"""Published answers: golds verify in every spelling, other rows' golds do not, theirs beside ours.

The data are not part of the repository; without them the tests that read them are skipped.
`benchmarks/math_answers.py` prints the same for all rows, with rates.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks import math_answers
from resources.verifiers.math import readable, verify

DATA = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
HERE = Path(__file__).parent
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no published data here")
MOST = 300  # rows of a source


@needs_data
def test_golds_verify_and_shuffled_golds_do_not() -> None:
    for source in math_answers.sources(DATA):
        some = math_answers.Source(source.name, source.pairs[:MOST], source.check)
        counts = math_answers.count(some)
        assert counts.verified == counts.rows, (source.name, counts.misses[:5])
        wrong = [miss for miss in counts.misses if miss.startswith("correct")]
        assert len(wrong) <= (source.name == "AQuA, option"), (source.name, wrong)
        if source.name != "AQuA, option":  # whose options are often no answers by themselves
            others = counts.rows - counts.coincidences
            assert counts.refused >= 0.999 * others, (source.name, counts.misses[:5])


@needs_data
def test_published_truths_are_readable() -> None:
    for name, field in (("math500/test.jsonl", "answer"), ("gsm8k/test.jsonl", "answer")):
        rows = [json.loads(line) for line in (DATA / name).read_text().splitlines()]
        assert [row[field] for row in rows[:MOST] if not readable(row[field])] == []


@needs_data
def test_wrong_options_are_refused() -> None:
    """The three that pass are written twice, or name one pair in another order."""
    found, refused, misses = math_answers.wrong_options(DATA)
    assert found == 1016 and refused >= 950
    assert len([miss for miss in misses if miss.startswith("correct")]) <= 5, misses


def test_math_verifys_published_cases() -> None:
    """Short ones of them, with our verdict; where the two differ, `why` says who is right."""
    rows = [json.loads(line) for line in (HERE / "math_verify_pairs.jsonl").open()]
    for row in rows:
        verdict = verify(row["answer"], row["expected"])
        assert verdict.verdict == row["ours"], (row, verdict.evidence)
        assert verdict.correct == row["theirs"] or row["why"]
    assert sum("why" in row for row in rows) <= 17
