"""The driver on the toy family: what is built, restored, spared, refused; kills; the log."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from definitions import build_defs
from jobs.errors import CommandError
from jobs.planning.plan import Plan
from jobs.running.driver import Changed, alone, drive
from jobs.running.runs import fail_orphans
from resources.checkout import CHECKOUT
from resources.store.home import Home
from resources.store.processes import TAG
from tests.jobs import toy
from tests.jobs.background import in_background
from tests.jobs.toy import KEYS, run
from warehouse.store import Store


def calls(folder: Path) -> int:
    return len((folder.parent / "calls").read_text().splitlines())


def test_builds_all_then_only_what_changed_then_restores(home: Home, folder: Path) -> None:
    said = run(home, folder)
    assert "4 built, 0 restored" in said
    assert "[1/4] toy/numbers built" in said and "mean 3" in said
    assert [a.state for a in toy.plan(home, folder).assets] == ["fresh"] * 4
    first = Store(home.path).current("toy/total")
    assert first is not None and first.metrics["sum"] == 12

    changed = {asset.key: asset.why for asset in toy.plan(home, folder, factor=3).todo}
    assert set(changed) == {"toy/doubled", "toy/total"}
    assert changed["toy/doubled"] == "recipe: factor 2 → 3"
    assert "2 built, 0 restored" in run(home, folder, factor=3)

    assert "0 built, 2 restored" in run(home, folder, factor=2)
    again = Store(home.path).current("toy/total")
    assert again is not None and again.data_version == first.data_version
    assert calls(folder) == 1
    assert (home.path / "catalog.duckdb").exists()


def test_equal_content_spares_what_comes_after(home: Home, folder: Path) -> None:
    run(home, folder)
    (folder / "b.json").write_text(json.dumps([5, 7]))  # odd: doubled comes out the same
    plan = toy.plan(home, folder)
    assert [asset.key for asset in plan.todo] == KEYS
    assert [step.key for step in plan.todo if step.certain] == ["toy/numbers"]
    said = run(home, folder)
    assert "3 built, 0 restored, 1 spared" in said
    assert "toy/total spared" in said


def test_failed_check_fails_the_step_and_publishes_nothing(home: Home, folder: Path) -> None:
    with pytest.raises(CommandError) as caught:
        run(home, folder, wanted=5)
    message = str(caught.value)
    assert message.startswith("toy/total failed: toy/total is not published, a check failed")
    assert "12, wanted 5" in message and str(home.logs) in message and "\n" not in message
    assert Store(home.path).current("toy/total") is None
    assert Store(home.path).current("toy/doubled") is not None
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["toy", "total"]), "as_wanted")
        [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.status.value == "FAILED"


def test_errors_of_a_build_are_named(home: Home, folder: Path) -> None:
    (folder / "broken.json").write_text("{")
    with pytest.raises(CommandError, match=r"toy/numbers failed: .*JSONDecodeError"):
        run(home, folder)


def test_what_dagster_is_told(home: Home, folder: Path) -> None:
    run(home, folder)
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["toy", "numbers"]))
        assert event is not None and event.asset_materialization is not None
        told = event.asset_materialization
        artifact = Store(home.path).current("toy/numbers")
        assert artifact is not None
        assert told.tags is not None
        assert told.tags["dagster/data_version"] == artifact.data_version
        shown = told.metadata
        assert shown["dagster/row_count"].value == 4
        columns = shown["dagster/column_schema"].value.columns  # type: ignore[union-attr]
        assert [column.name for column in columns] == ["n"]
        assert str(shown["dot"].value).startswith("![dot](data:image/png;base64,")
        assert "| 1 |" in str(shown["numbers_preview"].value)
        assert {"inputs", "recipe", "seconds", "bytes"} <= set(shown)


def test_moved_recipe_under_a_running_driver(home: Home, folder: Path) -> None:
    plans = [toy.plan(home, folder)]

    def replan() -> Plan:
        return toy.plan(home, folder, factor=7)

    with pytest.raises(Changed):
        drive(home, plans[0], KEYS, replan, io.StringIO(), home.logs / "log")
    assert Store(home.path).current("toy/doubled") is None


def test_orphaned_runs_are_failed_and_live_ones_kept(home: Home, folder: Path) -> None:
    from resources.store.processes import claim

    with dg.DagsterInstance.get() as instance:
        job = build_defs(recipe=toy.recipe(), specs=toy.specs(folder)).resolve_job_def("family")
        gone = instance.create_run_for_job(job, tags={TAG: "0123456789ab"})
        mine = instance.create_run_for_job(job, tags={TAG: claim(home.processes)})
        assert fail_orphans(instance, home) == [gone.run_id]
        kept = instance.get_run_by_id(mine.run_id)
        assert kept is not None and not kept.is_finished


def test_two_drivers_do_not_work_on_one_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.running.driver.LOCK_SECONDS", 0.1)
    refused = pytest.raises(CommandError, match="another `heirloom run` works on")
    with alone(home), refused, alone(home):
        pass


SCRIPT = """
import sys
from pathlib import Path
from jobs.running import driver
from jobs.running.driver import alone, captured, drive
from jobs.stopping import stoppable
from resources.store.home import Home
from tests.jobs import toy
from tests.jobs.toy import KEYS
home, folder, pause = Home(Path(sys.argv[1])).prepare(), Path(sys.argv[2]), float(sys.argv[3])
plan = lambda: toy.plan(home, folder, pause=pause)
with stoppable(), alone(home), captured(home) as (terminal, log):
    print("for the log only", flush=True)
    drive(home, plan(), KEYS, plan, terminal, log)
"""


def start(home: Home, folder: Path, pause: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        in_background([sys.executable, "-c", SCRIPT, str(home.path), str(folder), str(pause)]),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_driver_goes_on(home: Home, folder: Path, sign: signal.Signals) -> None:
    process = start(home, folder, 1.5)
    deadline = time.monotonic() + 50
    while not (folder.parent / "calls").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, sign)
    _, error = process.communicate(timeout=30)
    assert process.returncode != 0
    assert sign == signal.SIGKILL or error.rstrip().endswith("KeyboardInterrupt")
    assert Store(home.path).current("toy/numbers") is None

    process = start(home, folder, 1.5)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert "4 built" in out and "for the log only" not in out
    assert any("for the log only" in log.read_text() for log in home.logs.glob("run-*.log"))
    with dg.DagsterInstance.get() as instance:
        assert all(run.is_finished for run in instance.get_runs())
