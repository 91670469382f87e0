"""The command line on the toy family: what it prints, its exit codes, its one-line errors."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import cli
from jobs.errors import CommandError
from jobs.planning.selection import select
from resources.checkout import CHECKOUT
from resources.recipe.schema import Recipe
from resources.store.home import Home, HomeError, find
from resources.store.spec import Spec
from tests.jobs import toy
from tests.jobs.printed import complaint, said
from tests.jobs.toy import run
from warehouse.store import Store


@pytest.fixture
def family(home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose recipe makes the toy family."""

    def specs(recipe: Recipe) -> list[Spec]:
        return toy.specs(folder)

    def load(name: str, overrides: tuple[str, ...]) -> Recipe:
        return toy.recipe()

    monkeypatch.setattr("jobs.planning.plan.all_specs", specs)
    monkeypatch.setattr("jobs.planning.plan.load", load)
    monkeypatch.setattr("jobs.keys.all_specs", specs)
    monkeypatch.setattr("resources.recipe.loading.load", load)
    return home


def test_status_run_and_status(
    family: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = json.loads(said(capsys, "status", "--format", "json"))
    assert [record["state"] for record in records] == ["missing"] * 4
    dry = said(capsys, "run", "--dry-run")
    assert "4 assets" in dry and "toy/total" in dry and "never built" in dry
    run(family, folder)
    records = json.loads(said(capsys, "status", "--format", "json"))
    assert set(records[0]) == {
        "asset_key",
        "state",
        "why",
        "data_version",
        "rows",
        "materialized_at",
    }
    assert [record["state"] for record in records] == ["fresh"] * 4
    assert records[0]["rows"] == 4
    assert "4 fresh" in said(capsys, "status")
    assert said(capsys, "run").startswith("nothing to do: 4 assets are fresh")


def test_a_failed_build_is_seen_and_explained(
    family: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(family, folder)
    (folder / "bad.json").write_text("not json")
    with pytest.raises(CommandError):
        run(family, folder)
    [record] = [
        each
        for each in json.loads(said(capsys, "status", "--format", "json"))
        if each["state"] == "failed"
    ]
    assert record["asset_key"] == "toy/numbers"
    assert "JSONDecodeError" in record["why"] and "heirloom logs toy/numbers" in record["why"]
    assert "1 failed" in said(capsys, "status")
    lines = said(capsys, "logs", "toy/numbers").splitlines()
    assert lines[0].startswith("toy/numbers: failed, begun 20")
    assert lines[-1].startswith("JSONDecodeError: Expecting value") and "dagster" not in lines[-1]
    assert any("toy_builds.py" in line for line in lines)
    (folder / "bad.json").unlink()
    run(family, folder)
    assert "4 fresh ·" in said(capsys, "status")


def test_accept_all(
    family: Home, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(family, folder)
    monkeypatch.setattr(
        "jobs.planning.plan.all_specs", lambda recipe: toy.specs(folder, factor=3, wanted=9)
    )
    printed = said(capsys, "accept", "--all", "--reason", "the factor is not used")
    assert "2 assets accepted, 0 left for a run" in printed and "toy/doubled@" in printed
    assert "4 fresh" in said(capsys, "status")
    (folder / "more.json").write_text("[8]")
    printed = said(capsys, "accept", "--all", "--reason", "no", code=1)
    assert "not only code or recipe changed (file changed: incoming)" in printed


def test_a_reader_that_leaves_is_no_failure(family: Home, folder: Path) -> None:
    code = "import sys; from jobs.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, cwd=CHECKOUT
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0


def test_sql(family: Home, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no home" not in complaint(capsys, "sql", "SELEKT 1")
    run(family, folder)
    query = "SELECT asset_key, rows FROM assets WHERE is_current ORDER BY ALL"
    rows = json.loads(said(capsys, "sql", query, "--format", "json"))
    assert {"asset_key": "toy/numbers", "rows": 4} in rows
    table = list(csv.reader(io.StringIO(said(capsys, "sql", query, "--format", "csv"))))
    assert table[0] == ["asset_key", "rows"] and len(table) == 5
    assert "toy/listing" in said(capsys, "sql", query)
    nan = said(capsys, "sql", "SELECT 'nan'::DOUBLE AS x, ['inf'::DOUBLE] AS y", "--format", "json")
    assert json.loads(nan, parse_constant=pytest.fail) == [{"x": None, "y": [None]}]
    assert "SELEKT" in complaint(capsys, "sql", "SELEKT 1")
    assert "read-only" in complaint(capsys, "sql", "DROP TABLE assets")
    assert "nowhere" in complaint(capsys, "sql", "SELECT * FROM nowhere")


def test_lineage_accept_pin_and_gc(
    family: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(family, folder)
    up = said(capsys, "lineage", "toy/total")
    assert up.index("toy/total") < up.index("toy/doubled") < up.index("toy/numbers")
    down = said(capsys, "lineage", "toy/numbers", "--down")
    assert "toy/listing" in down and "toy/total" in down
    assert "did you mean" in complaint(capsys, "lineage", "sooper")
    assert "fresh" in complaint(capsys, "accept", "toy/total", "--reason", "why not")
    version = f"toy/total@{Store(family.path).current('toy/total').data_version[:12]}"
    run(family, folder, factor=5)
    assert version in said(capsys, "gc", "--dry-run")
    assert "pinned: the paper" in said(capsys, "pin", version, "--reason", "the paper")
    assert version not in said(capsys, "gc", "--dry-run")
    said(capsys, "pin", version, "--remove")
    assert "is not pinned" in complaint(capsys, "pin", version, "--remove")
    assert version in said(capsys, "gc", "--dry-run")


def test_audit_names_what_is_damaged(
    family: Home, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "0 versions" in said(capsys, "audit"), "a home with nothing in it is sound"
    run(family, folder)
    assert "all as recorded" in said(capsys, "audit")
    store = Store(family.path)
    manifest = store.current("toy/total").manifest
    digest = manifest["files"]["sum.json"]["sha256"]
    part = Path(family.path) / store.checkpoints.address(digest)
    sound = part.read_bytes()
    os.chmod(part, 0o644)
    part.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    out = said(capsys, "audit", code=1)
    assert "toy/total@" in out and str(part) in out and "is damaged" in out and "1 damaged" in out
    assert "1 damaged" in said(capsys, "audit", "toy/total", code=1)
    assert "1 versions" in said(capsys, "audit", "toy/numbers"), "the others are sound"
    part.unlink()
    assert "is gone" in said(capsys, "audit", code=1)
    part.write_bytes(sound)
    record = Path(family.path) / f"manifests/{manifest['memo_key']}.json"
    text = record.read_text()
    record.write_text(text.replace(digest[:12], "0" * 12))
    assert "data_version is not that of" in said(capsys, "audit", code=1)
    record.write_text(text[:40])
    assert "not readable JSON" in said(capsys, "audit", code=1)
    record.unlink()
    assert "the version it names is gone" in said(capsys, "audit", code=1)
    record.write_text(text)
    assert "all as recorded" in said(capsys, "audit")
    assert "no version" in complaint(capsys, "audit", "toy/total@ffff")


def test_accepted_change_is_fresh(
    family: Home,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(family, folder)
    monkeypatch.setattr("jobs.planning.plan.all_specs", lambda recipe: toy.specs(folder, factor=3))
    out = said(capsys, "accept", "toy/doubled", "--reason", "only a name")
    assert "factor 2 → 3" in out
    states = {r["asset_key"]: r for r in json.loads(said(capsys, "status", "--format", "json"))}
    assert states["toy/total"]["state"] == "fresh"
    assert states["toy/doubled"]["state"] != "missing"


def test_selection(family: Home, folder: Path) -> None:
    plan = toy.plan(family, folder)
    assert select(plan, None) == [asset.key for asset in plan.assets]
    assert select(plan, "toy/total") == ["toy/total"]
    assert select(plan, "group:rl") == ["toy/total"]
    assert select(plan, '1+key:"toy/total"') == ["toy/doubled", "toy/total"]
    everything = ["toy/numbers", "toy/doubled", "toy/total"]
    assert select(plan, '+key:"toy/total"') == everything
    assert select(plan, "+toy/total") == everything
    assert select(plan, "toy/numbers or (toy/total)") == ["toy/numbers", "toy/total"]
    assert select(plan, 'key:"toy/*"') == [asset.key for asset in plan.assets]


@pytest.mark.parametrize("text", ["toy/*", "problems/*", "group:nowhere", "toy/total,toy/total"])
def test_what_selects_nothing_is_wrong_usage(
    family: Home, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    error = complaint(capsys, "run", "--select", text, code=2)
    assert error.startswith(f"heirloom: --select {text} chooses no asset; ")
    assert 'key:"problems/*"' in error and "group:problems" in error and "+super/sft" in error


@pytest.mark.parametrize(
    ("text", "name", "meant"),
    [
        ("toy/numbers or toy/totl", "toy/totl", "did you mean toy/total, "),
        ('key:"toy/numbers" or +key:"toy/double"', "toy/double", "did you mean toy/doubled"),
        ("toy/numbers,toy/tootal", "toy/tootal", "did you mean toy/total?"),
        ("nowhere/at_all", "nowhere/at_all", "none is called like it"),
        ("super or toy/total", "super", "write --select 'key:\"super/*\"'"),
    ],
)
def test_a_key_that_is_none_is_named(
    family: Home, capsys: pytest.CaptureFixture[str], text: str, name: str, meant: str
) -> None:
    error = complaint(capsys, "run", "--select", text, code=2)
    assert error.startswith(f"heirloom: --select {text}: no asset '{name}'; ") and meant in error


def test_wrong_usage_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert cli.main(["frobnicate"]) == 2
    assert cli.main(["status", "--format", "xml"]) == 2
    assert cli.main(["--help"]) == 0


def test_unknown_recipe_is_one_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no recipe 'tinny'" in complaint(capsys, "run", "--recipe", "tinny")


def test_unwritable_home_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    error = complaint(capsys, "gc", "--home", str(tmp_path / "file" / "home"))
    assert "cannot be written" in error and "HEIRLOOM_HOME" in error
    with pytest.raises(HomeError, match="local folder"):
        find("s3://bucket/home")


def test_unforeseen_errors_leave_a_traceback(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(arguments: argparse.Namespace) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("jobs.commands.status.main", broken)
    error = complaint(capsys, "status")
    assert "ZeroDivisionError: a bug" in error
    assert "in broken" in (home.logs / "errors.log").read_text()


def test_a_hub_id_without_network_is_one_line(home: Home) -> None:
    command = [sys.executable, "-m", "jobs.cli", "run", "--recipe", "smoke"]
    command += ["--set", "models.nano.parent=nobody/no-such-model"]
    answer = subprocess.run(
        [*command, "--select", "nano/parent"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith(
        "heirloom: nano/parent failed: nobody/no-such-model: the hub cannot be reached"
    )
    assert "give the path of a downloaded copy (log: " in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["--help", "recipes"])
def test_closed_pipe_is_no_error(words: str) -> None:
    """The command's own exit code, not the reader's: the pipe is closed before it prints."""
    command = f"set -o pipefail; {sys.executable} -m jobs.cli {words} | true"
    answer = subprocess.run(["bash", "-c", command], cwd=CHECKOUT, capture_output=True, text=True)
    assert answer.returncode == 0 and not answer.stderr


def test_approve_wants_a_plan_id(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no plan id" in complaint(capsys, "approve", "../../etc")
    assert "approved" in said(capsys, "approve", "0123456789ab")
    assert os.listdir(home.approvals) == ["0123456789ab"]
