"""Benchmarks in what is trained on: both directions, and neighbours with what is undecided."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from resources.benchmarks import neighbours
from resources.benchmarks.compared import CONTAMINATED, UNDECIDED, Benchmarks
from resources.benchmarks.contamination import contaminated, hits
from resources.benchmarks.neighbours import Neighbours
from resources.cleaning import runs

DATA = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
DUCKS = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes "
    "muffins for her friends every day with four. How much does she make at the market?"
)
REPHRASED = (
    "Each day 16 eggs are laid by Janet's ducks. For her breakfast she has three, and four go into "
    "muffins that she bakes for friends. What does she earn at the market?"
)
OTHERS = [
    "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total?",
    "Josh decides to try flipping a house. He buys a house and then puts in repairs.",
    "James decides to run 3 sprints a week of 60 meters each. How many meters does he run?",
    "Kylar went to the store to buy glasses for his new apartment, every second one cheaper.",
    "Toulouse has twice as many sheep as Charleston. How many sheep do they have together?",
]
LIMITS = {"sure": 0.45, "undecided": 0.2}


def benchmarks(*asked: str, source: str = "own", limits: dict[str, float] | None) -> Benchmarks:
    ids = [bytes([place]) * 16 for place in range(len(asked))]
    table = pa.table({"row_id": ids, "question": list(asked), "source": [source] * len(asked)})
    return Benchmarks(table, limits)


def test_the_score_is_the_cosine_less_that_of_the_next() -> None:
    """Two questions of one run each, `ab` and `cd` with spaces: `ab` is in both, rarity 1."""
    asked = [" ab", "ab  cd"]
    found = Neighbours(asked)
    rare = math.log(3 / 2) + 1
    # " ab " is in both (1); "ab c", "b cd", " cd " in the second alone.
    second = 1 / math.sqrt(1 + 3 * rare**2)
    items, scores = found.nearest(["AB", "ab cd"])
    assert items.tolist() == [0, 1]
    assert scores == pytest.approx([1 - second / 4, 1 - second / 4])


def test_blocks_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [DUCKS, *OTHERS]
    texts = [REPHRASED, *OTHERS, "", "x", "数字", "\ud800 a lone surrogate", "a\0b"] * 3
    whole = Neighbours(asked).nearest(texts)
    monkeypatch.setattr(neighbours, "BLOCK", 40)
    monkeypatch.setattr(runs, "CHARACTERS", 100)
    for one, other in zip(whole, Neighbours(asked).nearest(texts), strict=True):
        np.testing.assert_allclose(one, other)
    assert Neighbours([]).nearest(["a"])[1].tolist() == [0.0]
    assert Neighbours(["a b c"]).nearest(["a b c " * 99])[1].tolist() == [0.0], "much longer"


def test_what_is_rephrased_is_found_and_between_the_limits_undecided() -> None:
    asked = benchmarks(DUCKS, *OTHERS, limits=LIMITS)
    near = (
        "Janet's geese lay 16 eggs per day. She eats two for breakfast each morning and bakes "
        "muffins for the neighbours every day with six. How much does she make at the fair?"
    )
    texts = [near, REPHRASED, "Write a poem on the sea and its ships.", DUCKS.upper()]
    found = asked.questions(texts)
    assert {place: match.row_id[0] for place, match in found.items()} == {0: 0, 1: 0, 3: 0}
    assert [found[0].method, found[1].method, found[3].method] == ["neighbour"] * 2 + ["exact"]
    assert [found[0].reason, found[1].reason] == [CONTAMINATED, UNDECIDED]
    assert found[1].evidence.startswith(f"neighbour, score {found[1].score:.2f}: Janet's ducks lay")
    plain = benchmarks(DUCKS, *OTHERS, limits=None)
    assert list(plain.questions(texts)) == [3], "absent, and only the text and its words count"
    made = benchmarks(DUCKS, *OTHERS, source="procedural", limits=LIMITS)
    assert list(made.questions(texts)) == [3], "procedural questions share their wording"


def test_a_short_text_that_a_question_holds_whole_is_found() -> None:
    """Seven words of a question, as a question; twelve, as a document; not four, and no gaps."""
    asked = benchmarks(OTHERS[0], DUCKS, limits={"sure": 1.0, "undecided": 1.0})
    seven, four = "bakes muffins for her friends every day", "eats three for breakfast"
    gap = "bakes muffins her friends every day"
    found = asked.questions([four, seven, gap])
    assert {place: match.method for place, match in found.items()} == {1: "contained"}
    assert found[1].row_id[0] == 1 and found[1].evidence.endswith(seven)
    twelve = "three for breakfast every morning and bakes muffins for her friends every"
    assert {p: m.method for p, m in asked.documents([four, twelve]).items()} == {1: "contained"}
    assert not benchmarks(DUCKS, limits=None).questions([seven])
    chinese = "小明有十二个苹果和九个梨他把三个苹果给了小红"
    held = benchmarks(chinese, limits={"sure": 1.0, "undecided": 1.0})
    assert list(held.questions([chinese[:12], chinese[:8]])) == [0], "ten characters are five words"


def test_of_a_conversation_the_sure_hit_is_told() -> None:
    asked = benchmarks(DUCKS, *OTHERS, limits=LIMITS)
    turns = [{"role": "user", "content": REPHRASED}, {"role": "assistant", "content": DUCKS}]
    found = contaminated([turns, turns[:1]], asked)
    assert [found[place].reason for place in (0, 1)] == [CONTAMINATED, UNDECIDED]
    table = hits([(bytes([9]) * 16, found[1])]).to_pylist()
    assert [(row["method"], row["decision"]) for row in table] == [("neighbour", UNDECIDED)]
    assert table[0]["item"] == bytes(16) and table[0]["score"] == found[1].score


@pytest.mark.skipif(not (DATA / "gsm8k").exists(), reason="no GSM8K data here")
def test_gsm8k_near_copies_are_neighbours() -> None:
    """Other words for one in three of a question; general instructions are none."""
    lines = (DATA / "gsm8k" / "test.jsonl").read_text().splitlines()[:300]
    asked = [json.loads(line)["question"] for line in lines]
    changed = [
        " ".join(f"x{word[1:]}" if place % 3 == 0 else word for place, word in enumerate(t.split()))
        for t in asked[:60]
    ]
    found = benchmarks(*asked[:250], limits={"sure": 0.25, "undecided": 0.16}).questions(changed)
    right = sum(match.row_id[0] == place for place, match in found.items())
    assert right >= 58
    rows = json.loads((DATA / "alpaca" / "alpaca_en_demo.json").read_text())[:300]
    general = [f"{row['instruction']} {row['input']}" for row in rows]
    limits = {"sure": 0.25, "undecided": 0.16}
    assert len(benchmarks(*asked[:250], limits=limits).questions(general)) <= 6
