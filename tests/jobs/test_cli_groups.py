"""The command line on a partitioned asset, and `heirloom diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from jobs.maintenance.asset_table import table
from resources.recipe.schema import Recipe
from resources.store.home import Home
from resources.store.spec import Spec
from tests.jobs import toy
from tests.jobs import toy_groups as groups
from tests.jobs.printed import complaint, said
from tests.jobs.toy_groups import run
from warehouse.store import Store

Capture = pytest.CaptureFixture[str]


class Family:
    """The home and what its recipe makes now."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder, self.options = home, folder, dict[str, Any]()

    def specs(self, recipe: Recipe) -> list[Spec]:
        return groups.specs(self.folder, **self.options)

    def run(self, **options: Any) -> None:
        self.options = options
        run(self.home, self.folder, options.get("count", 2), own=options.get("own"))


@pytest.fixture
def family(home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    made = Family(home, folder)
    monkeypatch.setattr("jobs.planning.plan.all_specs", made.specs)
    monkeypatch.setattr("jobs.keys.all_specs", made.specs)
    for module in ("jobs.planning.plan", "jobs.commands.diff", "resources.recipe.loading"):
        monkeypatch.setattr(f"{module}.load", lambda name, overrides: toy.recipe())
    monkeypatch.setattr(dg.DagsterInstance, "get", staticmethod(dg.DagsterInstance.ephemeral))
    return made


def status(capsys: Capture) -> dict[str, dict[str, Any]]:
    records = json.loads(said(capsys, "status", "--format", "json"))
    return {record["asset_key"]: record for record in records}


def test_status_and_dry_run_are_a_row_an_asset_and_a_row_a_step(
    family: Family, capsys: Capture
) -> None:
    library = status(capsys)["toy/library"]
    assert library["state"] == "missing" and library["why"] == "group_1, group_2: never built"
    assert library["data_version"] is library["rows"] is library["materialized_at"] is None
    dry = said(capsys, "run", "--dry-run", "--select", "toy/library")
    assert "toy/library[group_1]" in dry and "1 assets" in dry and dry.count(" 50 ") == 2
    family.run()
    found = status(capsys)
    assert len(found) == 3 and found["toy/library"]["state"] == "fresh"
    library = found["toy/library"]
    assert (
        library["rows"] == 4 and library["materialized_at"] and len(library["data_version"]) == 64
    )
    names = [part["partition"] for part in library["partitions"]]
    assert names == ["group_1", "group_2"] and "partitions" not in found["toy/joined"]
    versions = {part["data_version"] for part in library["partitions"]}
    assert versions == {
        p.data_version for p in Store(family.home.path).parts("toy/library").values()
    }
    family.options = {"count": 2, "own": {0: {"own": 2}}}
    library = status(capsys)["toy/library"]
    assert library["state"] == "stale" and library["why"] == "group_1: recipe: own 2 added"
    assert library["rows"] == 4, "what readers still see"
    out = said(capsys, "status")
    assert "toy/library is stale: group_1: recipe: own 2 added" in out
    family.options = {"count": 3}
    library = status(capsys)["toy/library"]
    assert library["state"] == "missing" and library["data_version"] is None
    assert "group_3: never built" in library["why"]


def test_accept_takes_all_stale_partitions_or_none(family: Family, capsys: Capture) -> None:
    family.run()
    family.options = {"own": {0: {"note": 1}, 1: {"note": 1}}}
    out = said(capsys, "accept", "toy/library", "--reason", "only a note")
    assert "toy/library[group_1]@" in out and "toy/library[group_2]@" in out
    assert {record["state"] for record in status(capsys).values()} == {"fresh"}
    assert "fresh" in complaint(capsys, "accept", "toy/library", "--reason", "again")
    family.options = {"count": 3}
    assert "build it first" in complaint(capsys, "accept", "toy/library", "--reason", "no")
    assert len(list((family.home.path / "accepted").iterdir())) == 2


def test_what_is_accepted_completes_the_whole(family: Family, capsys: Capture) -> None:
    family.run()
    groups.order(family.folder, 2, "fail")
    both = {0: {"own": 5}, 1: {"own": 5}}
    with pytest.raises(RuntimeError):
        family.run(own=both)
    said(capsys, "accept", "toy/library", "--reason", "the second group does not matter")
    found = status(capsys)
    assert found["toy/library"]["state"] == "fresh"
    rows = json.loads(said(capsys, "sql", "SELECT n FROM scaled ORDER BY n", "--format", "json"))
    assert [row["n"] for row in rows] == [3, 4, 5, 10]


def test_lineage_and_collection_name_partitions(family: Family, capsys: Capture) -> None:
    family.run()
    up = said(capsys, "lineage", "toy/joined")
    assert up.index("toy/joined@") < up.index("toy/library[group_1]@") < up.index("toy/numbers")
    assert "toy/library[group_2]@" in up and "(see above)" in up
    whole = status(capsys)["toy/library"]["data_version"]
    up = said(capsys, "lineage", "toy/library")
    assert f"toy/library@{whole[:12]}" in up and "4 rows" in up
    down = said(capsys, "lineage", "toy/library", "--down")
    assert down.count("toy/joined@") == 1 and "toy/numbers" not in down
    assert "toy/library[group_2]" in said(capsys, "lineage", "toy/numbers", "--down")
    family.run(count=3)
    assert f"toy/library@{whole[:12]}" in said(capsys, "lineage", f"toy/library@{whole[:8]}")
    dry = said(capsys, "gc", "--dry-run")
    assert "toy/library[group_1]@" in dry and "would remove 3 versions" in dry
    page = table(family.specs(toy.recipe()))
    assert "| `toy/library` | Numbers, scaled. Partitions: `group_1`, `group_2`, `group_3`." in page


def test_diff_of_partitions_and_of_wholes(family: Family, capsys: Capture) -> None:
    family.run()
    old = status(capsys)["toy/library"]["data_version"]
    joined = status(capsys)["toy/joined"]["data_version"]
    family.run(own={1: {"own": 10}})
    out = said(capsys, "diff", f"toy/library@{old[:10]}", "toy/library")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0].startswith(f"toy/library@{old[:12]} → toy/library@")
    assert lines[1].startswith("partition group_2: ") and "group_1" not in out
    assert lines[2:] == [
        "recipe", "own 10 added", "rows", "scaled: 2 → 2 (+2 -2)",
        "metrics", "sum 7.0 → 70.0 (+63)",
    ]  # fmt: skip
    out = said(capsys, "diff", f"toy/joined@{joined[:6]}", "toy/joined")
    assert "library@group_2 toy/library[group_2]@" in out and "joined: 4 → 4" in out
    assert "nothing differs" in said(capsys, "diff", "toy/library", "toy/library")
    family.run(count=3)
    out = said(capsys, "diff", f"toy/library@{old[:10]}", "toy/library")
    assert "partition group_3: only in the second" in out and "groups 2 → 3" in out
    assert "fits no version" in complaint(capsys, "diff", "toy/library@00ff00", "toy/library")
    assert "no current version" in complaint(capsys, "diff", "toy/nothing", "toy/library")
    assert "did you mean" in complaint(capsys, "diff", "sooper", "toy/library")
