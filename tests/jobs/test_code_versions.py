"""Hand-bumped stages: their code does not move without somebody deciding what that means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from assets.catalog import all_specs
from jobs.maintenance import code_versions, equivalence
from resources.recipe.loading import load
from resources.store.building import EQUIVALENCE
from warehouse.errors import WarehouseError
from warehouse.planning.equivalence import Equivalence, Former


def test_no_code_moves_without_a_decision() -> None:
    recorded, now = json.loads(code_versions.FILE.read_text()), code_versions.versions()
    moved = sorted(fn for fn in recorded.keys() | now.keys() if recorded.get(fn) != now.get(fn))
    assert not moved, (
        f"the code of {', '.join(moved)} moved: bump the version if results change, then run "
        "`python -m jobs.maintenance.code_versions`"
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


def test_no_code_leaves_the_table_of_equivalence_silently() -> None:
    moved = equivalence.outdated(Equivalence.read(EQUIVALENCE), equivalence.functions())
    assert not moved, (
        f"the code of {', '.join(moved)} moved: if the content is the same, run `python -m "
        "jobs.maintenance.equivalence --since HEAD --reason …`, else take its entry out of "
        "assets/equivalence.json"
    )


def test_the_table_is_extended_by_what_moved() -> None:
    table = Equivalence({"a:f": [Former("1"), Former("2", "then")]})
    now = {"a:f": "3", "a:g": "9", "a:h": "5"}
    longer = equivalence.extended(table, {"a:f": "2", "a:g": "8", "a:h": "5"}, now, "now")
    assert [each.code for each in longer.classes["a:f"]] == ["1", "2", "3"]
    assert longer.formers("a:g", "9") == (Former("8"),)
    assert "a:h" not in longer.classes
    assert equivalence.outdated(longer, now) == []
    assert equivalence.outdated(longer, {**now, "a:g": "10"}) == ["a:g"]


def test_code_of_a_revision_is_found_by_its_function() -> None:
    fn = "assets.problems.make:make_problems"
    then = equivalence.versions_at("HEAD", [fn, "assets.problems.make:not_there"])
    assert list(then) == [fn] and len(then[fn]) == 64
    with pytest.raises(WarehouseError, match="git knows no nowhere"):
        equivalence.versions_at("nowhere", [fn])
