"""Choices made of documents: what is asked, of which documents, and how all are accounted for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from resources.benchmarks.continuation import Document, asked
from resources.benchmarks.problems import held_text, problems, where
from resources.recipe.declared import bundled
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.recipe.sections.benchmark import Benchmark, Continuations
from resources.recipe.tree import plain
from resources.sources.account import SourceError

SECTION = Continuations(words=5, after=2, options=3)


def documents(count: int, words: int = 12) -> list[Document]:
    return [
        ("a.txt", n, "  ".join(f"w{n}x{i}" for i in range(words if n % 3 else words // 3)))
        for n in range(count)
    ]


def ask(given: list[Document], limit: int = 5) -> tuple[list[dict[str, Any]], Counter[str]]:
    left: Counter[str] = Counter()
    return [fields for _, _, fields in asked("mine", given, SECTION, limit, left)], left


@settings(max_examples=20, deadline=None)
@given(st.integers(9, 40), st.integers(3, 12), st.randoms())
def test_what_goes_on_stands_after_the_passage(count: int, limit: int, random: Any) -> None:
    given = documents(count)
    found, left = ask(given, limit)
    texts = [" ".join(text.split()) for _, _, text in given]
    for each in found:
        options, right = each["options"], each["options"][each["answer"]]
        assert len(set(options)) == len(options) == 3
        (of,) = [text for text in texts if each["context"] in text]
        assert f"{each['context']} {right}" in of
        assert not any(option in of for option in options if option != right)
    assert len(found) + left.total() == count
    random.shuffle(given)
    assert ask(given, limit)[0] == found


def test_options_alone_do_not_tell_the_right_one() -> None:
    """Every text is right once and wrong as often as there are wrong options."""
    found, _ = ask(documents(30), 7)
    shown = Counter(option for each in found for option in each["options"])
    assert set(shown.values()) == {3}
    assert len(shown) == 7


def test_wrong_options_are_of_other_documents() -> None:
    """A long document gives many passages, and none of them a wrong option of another."""
    given = [("a.txt", n, " ".join(f"d{n}w{i}" for i in range(40))) for n in range(4)]
    found, left = ask(given, 50)
    assert len(found) == 4 * (40 // 7)
    assert not left
    for each in found:
        own = each["context"].split("w")[0]
        of = [option.split("w")[0] for option in each["options"]]
        assert [name == own for name in of] == [n == each["answer"] for n in range(3)]


def test_passages_do_not_overlap() -> None:
    given = [("a.txt", n, " ".join(f"d{n}w{i}" for i in range(40))) for n in range(4)]
    found, _ = ask(given, 50)
    words = [
        word
        for each in found
        for word in f"{each['context']} {each['options'][each['answer']]}".split()
    ]
    assert len(words) == len(set(words)) == 4 * 35


def test_texts_that_stand_twice_are_asked_once() -> None:
    given = documents(9)
    _, left = ask([*given, *given], 9)
    assert left["passages_twice"] == 6
    assert left["documents_too_short"] == 6


def test_too_few_documents_are_said() -> None:
    with pytest.raises(SourceError, match="mine: 2 documents of 7 words or more, 3 options need"):
        ask(documents(3))


def test_the_bundled_one_reads_any_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(text for _, _, text in documents(20, 180)))
    declared = plain(bundled("continuation")) | {"path": str(file), "document": "line", "limit": 6}
    benchmark = Benchmark.model_validate(declared)
    table, account = problems("mine", benchmark, where(benchmark, tmp_path, tmp_path)[0])
    assert table.num_rows == account.kept == 6
    assert account.left["passages_not_asked"] == 86
    row = table.to_pylist()[0]
    assert row["question"] == f"{row['prompt']} {row['choices'][row['gold']]}"
    assert len(row["prompt"].split()) == 20


def test_held_out_documents_of_the_corpus_are_asked_about() -> None:
    rows = [
        {"file": "a", "line": n, "text": text, "split": ["train", "held_out"][n % 2]}
        for _, n, text in documents(60, 90)
    ]
    rows.append({"file": "a", "line": 61, "text": None, "split": "held_out"})
    benchmark = Benchmark.model_validate(plain(bundled("continuation")))
    assert where(benchmark, Path(), Path()) == ([], [])
    batches = pa.Table.from_pylist(rows).to_batches(max_chunksize=7)
    table, _ = problems("continuation", benchmark, [], held_text(batches))
    assert table.num_rows == 20 * (90 // 26) + 10 * (30 // 26)
    assert {line % 2 for line in table["line"].to_pylist()} == {1}


def test_without_a_mixture_nothing_is_held_out() -> None:
    with pytest.raises(RecipeError, match="corpus:held_out is what a mixture holds out"):
        load("tiny", ["benchmarks.continuation={}"], check_paths=False)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"limit": None}, "continuations needs limit"),
        ({"fields": {"question": "q"}}, "fields maps text alone"),
        ({"continuations": {"options": 1}}, "greater than or equal to 2"),
        ({"continuations": None}, "corpus:held_out is documents"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Benchmark.model_validate(plain(bundled("continuation")) | wrong)
