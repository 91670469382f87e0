"""Rows that say the same are found against those that are kept, and every similarity is exact."""

from __future__ import annotations

import itertools
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.cleaning import duplicates
from resources.cleaning.duplicates import Duplicate, Duplicates, Found
from resources.cleaning.shingles import SIZE, Shingles, jaccard
from resources.cleaning.words import words

# Forty different words, so that no two shingles of a text are alike.
TEXT = [f"w{i}" for i in range(40)]


def key(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def found(
    folder: Path, texts: list[str], near: float | None = 0.7, apart: list[str] | None = None
) -> Found:
    rows = Duplicates(folder / "shingles", near)
    for start in range(0, len(texts), 3):  # batches of 3: what is found must not depend on them
        part = texts[start : start + 3]
        labels = (apart or [""] * len(texts))[start : start + 3]
        rows.add([key(text) for text in part], part, labels)
    return rows.found()


def test_the_similarity_is_the_jaccard_of_shingles(tmp_path: Path) -> None:
    """Forty words have 36 shingles; a changed last word costs one of them: 35 of 37."""
    texts = [" ".join(TEXT), "something else altogether, with words of its own", " ".join(TEXT)]
    texts += [" ".join([*TEXT[:-1], "other"])]
    assert found(tmp_path, texts).duplicates == [
        Duplicate(2, 0, 1.0, "exact"),
        Duplicate(3, 0, 35 / 37, "minhash"),
    ]
    assert found(tmp_path, texts, near=36 / 37).duplicates == [Duplicate(2, 0, 1.0, "exact")]
    assert found(tmp_path, texts, near=None).duplicates == [Duplicate(2, 0, 1.0, "exact")]


def test_a_chain_of_small_changes_is_cut_not_swallowed(tmp_path: Path) -> None:
    """Each text differs from the one before by four words at its end: the second is like the first,
    the third like the second, which is not kept, and not enough like the first."""
    texts = [" ".join([*TEXT[: 40 - 4 * i], *(f"v{j}" for j in range(4 * i))]) for i in range(3)]
    assert found(tmp_path, texts, near=0.75).duplicates == [Duplicate(1, 0, 32 / 40, "minhash")]


def test_a_repeat_of_a_dropped_row_belongs_to_the_kept_one(tmp_path: Path) -> None:
    near = " ".join([*TEXT[:-1], "other"])
    made = found(tmp_path, [" ".join(TEXT), near, near]).duplicates
    assert made == [Duplicate(1, 0, 35 / 37, "minhash"), Duplicate(2, 0, 35 / 37, "minhash")]


def test_rows_told_apart_are_never_near(tmp_path: Path) -> None:
    texts = [" ".join(TEXT), " ".join([*TEXT[:-1], "other"])]
    assert found(tmp_path, texts, apart=["3", "4"]).duplicates == []
    assert len(found(tmp_path, texts, apart=["3", "3"]).duplicates) == 1


def test_short_and_empty_texts(tmp_path: Path) -> None:
    texts = ["yes", "Yes!", "no", "", "?", "yes"]
    assert found(tmp_path, texts).duplicates == [
        Duplicate(1, 0, 1.0, "minhash"),
        Duplicate(5, 0, 1.0, "exact"),
    ]
    assert found(tmp_path, []).duplicates == []


def test_texts_without_spaces_are_compared_by_characters(tmp_path: Path) -> None:
    text = "小明有三个苹果和五个梨他把两个苹果给了小红然后又买了七个橙子现在一共有多少个水果"
    assert found(tmp_path, [text, text[:-1] + "呢"]).duplicates[0].similarity > 0.9


def test_what_is_not_compared_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join([*TEXT[:36], *(f"v{i}_{j}" for j in range(4))]) for i in range(6)]
    assert not found(tmp_path, texts, near=0.9).uncompared
    monkeypatch.setattr(duplicates, "MOST_COMPARED", 1)
    assert found(tmp_path, texts, near=0.9).uncompared


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=9), min_size=2, max_size=2))
def test_shingles_are_the_sets_they_stand_for(pair: list[list[str]]) -> None:
    texts = [" ".join(each) for each in pair]
    sets = [
        {tuple(w[i : i + SIZE]) for i in range(max(1, len(w) - SIZE + 1))} if w else set()
        for w in map(words, texts)
    ]
    values, offsets = Shingles().of(texts)
    made = [values[i:j] for i, j in itertools.pairwise(offsets)]
    assert [len(each) for each in made] == [len(each) for each in sets]
    union = len(sets[0] | sets[1])
    assert jaccard(*made) == (len(sets[0] & sets[1]) / union if all(sets) else 0.0)
