"""Choices made of documents: what is asked, of which documents, and how all are accounted for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from resources.benchmarks.continuation import Document, asked
from resources.benchmarks.problems import problems, where
from resources.recipe.benchmark import Benchmark, Continuations
from resources.recipe.declared import bundled
from resources.recipe.tree import plain
from resources.sources.account import SourceError
from resources.sources.apart import held_out, text_hash

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


def test_the_share_that_a_mixture_holds_out_is_asked_last() -> None:
    given = documents(60)
    found, _ = ask(given, 20)
    contexts = [each["context"] for each in found]
    import numpy as np

    for _, _, text in given:
        if held_out(np.array([text_hash(text)]), 0.2)[0]:
            assert not any(context in " ".join(text.split()) for context in contexts)


def test_texts_that_stand_twice_are_asked_once() -> None:
    given = documents(9)
    _, left = ask([*given, *given], 9)
    assert left["documents_twice"] == 6
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
    assert account.left["documents_not_asked"] == 14
    row = table.to_pylist()[0]
    assert row["question"] == f"{row['prompt']} {row['choices'][row['gold']]}"
    assert len(row["prompt"].split()) == 40


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"limit": None}, "continuations needs limit"),
        ({"fields": {"question": "q"}}, "fields maps text alone"),
        ({"continuations": {"options": 1}}, "greater than or equal to 2"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Benchmark.model_validate(plain(bundled("continuation")) | wrong)
