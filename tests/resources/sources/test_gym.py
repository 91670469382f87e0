"""Rows of reasoning-gym through the door of every source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resources.recipe.sections.data import Records
from resources.sources.account import SourceError
from resources.sources.reading import read
from resources.sources.shards import described, description, shards


def rows(path: str, limit: int | None = 4) -> list[dict[str, str]]:
    fields = {"question": "question", "answer": "answer"}
    source = Records(path=path, fields=fields, license="apache-2.0", limit=limit)
    (shard,) = shards(source, Path(), Path())
    pieces, watched = description(source, shard)
    assert watched == ()
    again = described(shard.name, json.loads(json.dumps(pieces)), [])
    return [
        json.loads(row["record"]) for batch in read(source, again) for row in batch.kept.to_pylist()
    ]


def test_parameters_and_seed_make_the_rows() -> None:
    path = "reasoning_gym:chain_sum?min_terms=2&max_terms=2&min_digits=1&max_digits=1"
    found = rows(path)
    assert len(found) == 4
    assert all(len(row["question"].split(": ")[1].split()) == 4 for row in found)
    assert found == rows(f"{path}&seed=0") != rows(f"{path}&seed=1000")
    assert rows(path, 2) == found[:2]


def test_skipped_rows_leave_the_others_as_they_are() -> None:
    path = "reasoning_gym:products?min_terms=2&max_terms=2&min_digits=1&max_digits=1&seed=7"
    every = rows(path, 100)
    assert len({row["question"] for row in every}) == 100  # 0 to 9 times 0 to 9
    assert every[34:] == rows(f"{path}&skip=34", 66)


@pytest.mark.parametrize(
    ("path", "limit", "said"),
    [
        ("reasoning_gym:nothing", 4, "reasoning_gym:nothing: .*nothing"),
        ("reasoning_gym:chain_sum?terms=2", 4, "reasoning_gym:chain_sum: .*terms"),
        ("reasoning_gym:chain_sum?skip=-1", 4, "reasoning_gym:chain_sum: skip must be a number"),
        (
            "reasoning_gym:products?min_terms=2&max_terms=2&min_digits=1&max_digits=1&skip=34",
            67,
            "has 100 different questions, 34 to skip and 67 to take",
        ),
        ("reasoning_gym:chain_sum", None, "generates rows without end; give `limit`"),
    ],
)
def test_what_cannot_be_is_said(path: str, limit: int | None, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        rows(path, limit)
