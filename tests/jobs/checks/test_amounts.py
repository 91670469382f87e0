"""`check` says where a recipe wants several times the text that it declares."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from jobs.checks.amounts import PYTHON_BYTES, amounts
from jobs.checks.asked import Asked
from resources.recipe.loading import load
from resources.sources.library import documents
from tests.jobs.checks.small import RECIPE


def said(folder: Path, *overrides: str, text: bytes = b"{}") -> list[str]:
    (folder / "chats.jsonl").write_bytes(text)
    (folder / "chats.jsonl.gz").write_bytes(gzip.compress(text))
    (folder / "mine.yaml").write_text(RECIPE)
    return [
        str(each) for each in amounts(Asked(load(folder / "mine.yaml", overrides), True, folder))
    ]


def test_what_the_sources_bear_is_not_named(tmp_path: Path) -> None:
    assert said(tmp_path) == []
    assert said(tmp_path, "models.m.distillation.tokens=1M", "corpus.tokens=1M") == []
    assert said(tmp_path, "corpus.tokens=1B", "models.m.stages=[sft]") == []


@pytest.mark.parametrize(
    ("overrides", "faults"),
    [
        (("corpus.tokens=2B",), ["corpus.tokens: 2,000,000,000 tokens, and what it mixes holds"]),
        (
            ("models.m.distillation.tokens=100M",),
            ["distillation.tokens: 100,000,000 tokens are 625 passes over a corpus of about 160K"],
        ),
        (
            ("corpus={mix: {chats: 1}}", "corpus.mix.docs=null", "corpus.tokens=1M"),
            ["corpus.tokens: 1,000,000 tokens, and what it mixes holds about 100K; write about "],
        ),
        (
            ("sources.chats.path=./chats.jsonl.gz", "corpus.mix.docs=null", "corpus.tokens=1B"),
            ["corpus.tokens: 1,000,000,000 tokens"],
        ),
    ],
)
def test_much_more_than_there_is_is_named(
    overrides: tuple[str, ...],
    faults: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    quiet = ("models.m.puzzle.library.tokens=4K", "models.m.distillation.tokens=4K")
    found = said(tmp_path, *quiet, *overrides, text=os.urandom(200_000).hex().encode())
    assert len(found) == len(faults)
    for line, part in zip(found, faults, strict=True):
        assert part in line


def test_what_ships_with_python_is_about_as_much_as_counted() -> None:
    held = sum(len(text.encode()) for _, _, text in documents("documentation"))
    assert 0.5 < held / PYTHON_BYTES["documentation"] < 2


@pytest.mark.parametrize(("name", "many"), [("tiny", 0), ("smoke", 0), ("practitioner", 2)])
def test_of_a_procedural_corpus_too(name: str, many: int, tmp_path: Path) -> None:
    found = [str(each) for each in amounts(Asked(load(name, check_paths=False), True, tmp_path))]
    assert len(found) == many and all("passes over a corpus of about 1.5M" in f for f in found)
