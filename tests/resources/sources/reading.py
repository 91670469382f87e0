"""Declared sources, and everything that reading one gives, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resources.recipe.sections.data import Source
from resources.sources import shards
from resources.sources.reading import read


def source(path: str, kind: str = "text", **more: Any) -> Source:
    return Source.model_validate({"kind": kind, "path": path, "license": "mit", **more})


def rows(folder: Path, declared: Source) -> tuple[list[Any], list[dict[str, Any]]]:
    """Values kept (with their lines) and rejected rows of a whole source."""
    kept: list[Any] = []
    lost: list[dict[str, Any]] = []
    for shard in shards.shards(declared, folder, folder / "hub"):
        for batch in read(declared, shard):
            assert batch.rows == batch.kept.num_rows + batch.rejected.num_rows
            for row in batch.kept.to_pylist():
                assert row["file"]
                kept.append((next(iter(row.values())), row["line"]))
            lost += batch.rejected.to_pylist()
    return kept, lost


def conversations(folder: Path, declared: Source) -> list[dict[str, Any]]:
    """The kept rows of a source of conversations, all columns."""
    found: list[dict[str, Any]] = []
    for shard in shards.shards(declared, folder, folder / "hub"):
        for batch in read(declared, shard):
            found += batch.kept.to_pylist()
    return found


def texts(folder: Path, name: str, content: bytes, **more: Any) -> list[str]:
    (folder / name).write_bytes(content)
    kept, lost = rows(folder, source(name, **more))
    assert not lost, lost
    return [text for text, _ in kept]
