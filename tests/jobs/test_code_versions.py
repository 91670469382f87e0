"""Hand-bumped stages: their code does not move without somebody deciding what that means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from assets.catalog import all_specs
from jobs import code_versions
from resources.recipe.loading import load


def test_no_code_moves_without_a_decision() -> None:
    recorded, now = json.loads(code_versions.FILE.read_text()), code_versions.versions()
    moved = sorted(fn for fn in recorded.keys() | now.keys() if recorded.get(fn) != now.get(fn))
    assert not moved, (
        f"the code of {', '.join(moved)} moved: bump the version if results change, then run "
        "`python -m jobs.code_versions`"
    )


def test_every_hand_bumped_function_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_versions, "FILE", tmp_path / "versions.json")
    assert code_versions.main() == 0
    written = json.loads((tmp_path / "versions.json").read_text())
    bumped = {s.fn: s.version for s in all_specs(load("tiny", check_paths=False)) if s.version}
    assert {fn: entry["version"] for fn, entry in written.items()} == bumped
    assert "assets.sft.train:sft" in written


def test_one_function_has_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(s for s in all_specs(load("tiny", check_paths=False)) if s.version)
    other = replace(first, key="toy/other", version="other")
    monkeypatch.setattr(code_versions, "all_specs", lambda recipe: [first, other])
    with pytest.raises(ValueError, match=r"toy/other: .* has version other here"):
        code_versions.versions()
