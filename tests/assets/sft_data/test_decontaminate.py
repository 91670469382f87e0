"""Contaminated questions are found by text and by long runs of words, and by nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from resources.benchmarks.compared import Benchmarks
from resources.benchmarks.overlap import Index, matches
from resources.cleaning import runs

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


def test_batches_find_what_one_table_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is made once; a text that holds a question is found wherever it comes."""
    said = [f"{i} words before, {LONG}, and {i} behind" if i % 3 else "nothing" for i in range(9)]
    index = Index([LONG, "nothing", LONG])
    whole = index.find(said)
    assert [whole[i].method for i in range(9)] == ["exact", "ngram_13", "ngram_13"] * 3
    assert {hit.item for hit in whole.values()} == {0, 1}
    monkeypatch.setattr(runs, "CHARACTERS", 100)
    assert index.find(said) == whole
    assert {i: hit for i in range(9) for hit in index.find(said[i : i + 1]).values()} == whole


def test_a_run_does_not_go_on_in_the_next_text() -> None:
    halves = LONG.split(" red hens ")
    assert not Index([LONG], ("ngram_8",)).find([f"{halves[0]} red hens", halves[1][:30]])


def test_documents_are_found_by_thirteen_words_or_a_whole_question_of_eight() -> None:
    eight = "how many primes lie below fifty and above"
    numbers = "sort 1 2 3 4 5 6 7 8 9 10 11 12 13 14"
    rows = [(LONG, "gsm8k"), (eight, "own"), ("say yes", "own"), (numbers, "own")]
    made = LONG.replace("farmer", "miller")
    asked = Benchmarks(
        pa.table(
            {
                "row_id": [bytes([i]) * 16 for i in range(5)],
                "question": [*(text for text, _ in rows), made],
                "source": [*(source for _, source in rows), "procedural"],
            }
        )
    )
    found = asked.documents(
        [
            f"Once more: {LONG}.",  # 18 words of 18
            "nine brown ducks in the old barn near a lake",  # 8 of its words, by chance
            f"He asked {eight} forty",
            f"He asked {eight[:-6]}",  # 7 of 8
            "Say  YES",  # as a whole, however short
            "I say yes",
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",  # a row of numbers is nobody's question
            made.upper(),  # procedural, as a whole
        ]
    )
    assert {place: match.row_id[0] for place, match in found.items()} == {0: 0, 2: 1, 4: 2, 7: 4}
    assert found[0].evidence.startswith("ngram_13, score 1.00: a farmer has twelve")
    questions = asked.questions(["with nine brown ducks in the old barn near a lake"])
    assert questions[0].evidence.startswith("ngram_8, score")


@pytest.mark.parametrize(
    ("question", "other"),
    [
        (
            "小明有十二个苹果和九个梨他把三个苹果给了小红然后又买了五个橙子现在小明一共有多少个水果",
            "小红有十二本书和九支笔她把三本书给了小明",
        ),
        (
            "りんごが十二個あります太郎さんは三個食べて花子さんに四個あげました残りは何個でしょうか",
            "りんごが好きな人は毎日二個食べるそうです",
        ),
        (
            "สมชายมีแอปเปิลสิบสองผลและส้มเก้าผลเขาให้แอปเปิลสามผลแก่สมหญิงแล้วซื้อกล้วยอีกห้าผลตอนนี้เขามีผลไม้กี่ผล",
            "สมชายมีหนังสือสิบสองเล่มและปากกาเก้าด้าม",
        ),
    ],
    ids=["chinese", "japanese", "thai"],
)
def test_languages_without_spaces_are_compared_by_characters(question: str, other: str) -> None:
    """As a question within other text, and by a long run; a shared topic is none."""
    found = matches(table(f"Q: {question}?", other, question[5:-5]), table(question)).to_pylist()
    assert [(row["row_id"], row["method"]) for row in found] == [(0, "ngram_13"), (2, "ngram_13")]
    assert found[0]["score"] == 1.0


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
