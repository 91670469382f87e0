"""The driver on partitioned assets: changed, failed, killed and regrouped partitions."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from jobs.errors import CommandError
from jobs.running.worker import Task, build
from jobs.running.workers import device
from resources.checkout import CHECKOUT
from resources.execution import Execution
from resources.store.building import Code
from resources.store.home import Home
from tests.jobs import toy_groups as toy
from tests.jobs.background import in_background
from tests.jobs.toy_groups import run
from warehouse import catalog, gc
from warehouse.store import Store


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster keeps its records in memory, for tests that do not ask it afterwards."""
    monkeypatch.setattr(dg.DagsterInstance, "get", staticmethod(dg.DagsterInstance.ephemeral))


def todo(home: Home, folder: Path, count: int = 2, **options: Any) -> dict[str, str]:
    return {step.label: step.why for step in toy.plan(home, folder, count, **options).todo}


def rows(home: Home, table: str = "scaled") -> list[int]:
    with catalog.connect(home.path) as connection:
        found = catalog.query(connection, f"SELECT n FROM {table} ORDER BY n").fetchall()
    return [n for (n,) in found]


def builds(folder: Path) -> list[str]:
    """The groups that were built so far, in order, then forgotten."""
    file = folder.parent / "built"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [line.split()[0] for line in lines]


@pytest.mark.usefixtures("light")
def test_partitions_are_steps_and_one_changed_slice_is_one_rebuild(
    home: Home, folder: Path
) -> None:
    said = run(home, folder)
    lines = [re.sub(r" ·.*", "", line) for line in said.splitlines()]
    assert lines[:4] == [
        "[1/4] toy/numbers built",
        "[2/4] toy/library[group_1] built",
        "[3/4] toy/library[group_2] built",
        "[4/4] toy/joined built",
    ]
    assert "4 built, 0 restored" in said and builds(folder) == ["1", "2"]
    assert rows(home) == rows(home, "joined") == [1, 2, 3, 4]
    plan = toy.plan(home, folder)
    assert [asset.state for asset in plan.assets] == ["fresh"] * 3
    first = Store(home.path).parts("toy/library")
    assert list(first) == ["group_1", "group_2"] and plan.by_key["toy/library"].data_version

    changed = todo(home, folder, own={1: {"own": 10}})
    assert changed == {
        "toy/library[group_2]": "recipe: own 10 added",
        "toy/joined": "upstream toy/library[group_2] is stale",
    }
    run(home, folder, own={1: {"own": 10}})
    assert builds(folder) == ["2"] and rows(home) == [1, 2, 30, 40]
    after = Store(home.path).parts("toy/library")
    assert after["group_1"].memo_key == first["group_1"].memo_key
    assert todo(home, folder, own={1: {"own": 10}}) == {}

    said = run(home, folder, own={1: {"own": 10, "note": "no difference"}})
    assert builds(folder) == ["2"] and "1 built, 0 restored, 1 spared" in said
    assert "0 built, 2 restored" in run(home, folder) and builds(folder) == []
    assert rows(home, "joined") == [1, 2, 3, 4]


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_partition_alone_is_retried(home: Home, folder: Path, workers: int) -> None:
    toy.order(folder, 1, "fail")
    with pytest.raises(CommandError) as caught:
        run(home, folder, 3, workers=workers)
    message = str(caught.value)
    assert message.startswith("toy/library[group_1] failed: ") and "\n" not in message
    assert "ValueError: group 1 is told to fail" in message and str(home.logs) in message
    assert sorted(builds(folder)) == ["1", "2", "3"]
    assert Store(home.path).parts("toy/library") == {}
    left = {step.label: step.state for step in toy.plan(home, folder, 3).todo}
    assert left == {"toy/library[group_1]": "missing", "toy/joined": "missing"}
    assert gc.collect(Store(home.path), dry_run=True).versions == []

    toy.order(folder, 1, "obey")
    assert "2 built, 0 restored" in run(home, folder, 3, workers=workers)
    assert builds(folder) == ["1"] and rows(home) == [1, 2, 3, 4]


def test_workers_build_side_by_side_and_dagster_knows(home: Home, folder: Path) -> None:
    for group in (1, 2):
        toy.order(folder, group, "wait")
    process = start(home, folder, 3)
    wait_for(lambda: len(lines(folder)) == 3, process)  # numbers' own line is in "calls"
    assert {line.split()[0] for line in lines(folder)} == {"1", "2", "3"}
    assert len({line.split()[1] for line in lines(folder)}) == 3
    assert {line.split()[2] for line in lines(folder)} == {"1"}, "two threads, three workers"
    for group in (2, 1):
        toy.order(folder, group, "obey")
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert "5 built, 0 restored" in out
    assert rows(home) == rows(home, "joined") == [1, 2, 3, 4]
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetKey(["toy", "library"])
        names = ["group_1", "group_2", "group_3"]
        assert instance.get_materialized_partitions(key) == set(names)
        for name, artifact in Store(home.path).parts("toy/library").items():
            record = instance.get_latest_data_version_record(key, partition_key=name)
            assert record is not None and record.asset_materialization is not None
            tags = record.asset_materialization.tags or {}
            assert tags["dagster/data_version"] == artifact.data_version
            assert record.run_id == artifact.observations["run_id"]


@pytest.mark.usefixtures("light")
def test_a_worker_that_dies_does_not_stop_the_others(home: Home, folder: Path) -> None:
    toy.order(folder, 2, "die")
    with pytest.raises(CommandError) as caught:
        run(home, folder, 3, workers=2)
    assert "toy/library[group_2] failed: its worker was killed by SIGKILL" in str(caught.value)
    assert sorted(builds(folder)) == ["1", "2", "3"]
    toy.order(folder, 2, "obey")
    run(home, folder, 3, workers=2)
    assert builds(folder) == ["2"] and rows(home) == [1, 2, 3, 4]


def test_a_check_that_fails_in_a_worker_is_told_as_one(home: Home, folder: Path) -> None:
    with pytest.raises(CommandError, match=r"library\[group_2\] is not published, a check failed"):
        run(home, folder, workers=2, own={1: {"own": -1}})
    with dg.DagsterInstance.get() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["toy", "library"]), "whole_numbers")
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=9)
        assert sorted(record.status.value for record in history) == ["FAILED", "SUCCEEDED"]
    assert "2 built" in run(home, folder, workers=2)


@pytest.mark.usefixtures("light")
def test_a_worker_refuses_code_that_moved_since_it_was_planned(home: Home, folder: Path) -> None:
    run(home, folder)
    library = toy.specs(folder)[1]
    execution = Execution(threads=1)
    task = Task(library, Code("planned before"), "group_1", str(home.path), execution, "run")
    assert Task.from_line(task.to_line()) == task
    answers = io.StringIO()
    build(task, answers)
    assert json.loads(answers.getvalue()) == {
        "failed": "the code of toy/library changed on disk; run again"
    }
    assert todo(home, folder) == {}


def test_each_worker_sees_one_gpu_of_those_that_the_run_may_use() -> None:
    assert device(0, {}) == device(0, {"CUDA_VISIBLE_DEVICES": ""}) == {}
    visible = {"CUDA_VISIBLE_DEVICES": "4,6"}
    assert [device(slot, visible)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["4", "6", "4"]


@pytest.mark.usefixtures("light")
def test_regrouping_never_shows_a_mixture_and_going_back_restores(home: Home, folder: Path) -> None:
    run(home, folder, 2)
    before = Store(home.path).parts("toy/library")
    toy.order(folder, 3, "fail")
    with pytest.raises(CommandError):
        run(home, folder, 3)
    assert rows(home) == [1, 2, 3, 4], "two of the three new groups are built, none is shown"
    shown = {part.memo_key for part in Store(home.path).parts("toy/library").values()}
    assert shown == {part.memo_key for part in before.values()}
    assert gc.collect(Store(home.path), dry_run=True).versions == []

    toy.order(folder, 3, "obey")
    builds(folder)
    run(home, folder, 3)
    assert builds(folder) == ["3"] and rows(home) == [1, 2, 3, 4]
    superseded = gc.collect(Store(home.path), dry_run=True).versions
    assert {name for name, _ in superseded} >= {"toy/library[group_1]", "toy/library[group_2]"}
    assert {version for _, version in superseded} >= {p.data_version for p in before.values()}

    said = run(home, folder, 2)
    assert builds(folder) == [] and "0 built, 3 restored" in said
    assert rows(home) == [1, 2, 3, 4]
    assert list(Store(home.path).parts("toy/library")) == ["group_1", "group_2"]
    assert not (home.path / "current" / "toy" / "library@group_3.json").exists()
    gc.collect(Store(home.path))
    assert todo(home, folder, 2) == {} and rows(home, "joined") == [1, 2, 3, 4]


@pytest.mark.usefixtures("light")
def test_partitioning_an_old_home_and_giving_it_up(home: Home, folder: Path) -> None:
    run(home, folder, 0)
    [old] = Store(home.path).parts("toy/library").values()
    plan = toy.plan(home, folder, 2)
    library = plan.by_key["toy/library"]
    assert library.state == "missing" and library.data_version is None
    assert plan.by_key["toy/joined"].why == (
        "input library (toy/library) is gone; input library: group_1, group_2 changed; "
        "upstream toy/library[group_1] is missing"
    )
    assert plan.by_key["toy/numbers"].state == "fresh"
    toy.order(folder, 2, "fail")
    with pytest.raises(CommandError):
        run(home, folder, 2)
    assert rows(home) == [1, 2, 3, 4]
    toy.order(folder, 2, "obey")
    run(home, folder, 2)
    assert rows(home) == [1, 2, 3, 4]
    run(home, folder, 0)
    assert Store(home.path).parts("toy/library")[None].memo_key == old.memo_key
    assert os.listdir(home.path / "current" / "toy") and rows(home) == [1, 2, 3, 4]
    assert not list((home.path / "current" / "toy").glob("library@*"))
    superseded = {name for name, _ in gc.collect(Store(home.path)).versions}
    assert superseded == {"toy/library[group_1]", "toy/library[group_2]", "toy/joined"}
    assert not list((home.path / "wholes").rglob("*.json"))


@pytest.mark.usefixtures("light")
def test_a_kill_between_the_last_partition_and_the_whole_is_made_good(
    home: Home, folder: Path
) -> None:
    run(home, folder)
    (home.path / "current" / "toy" / "library.json").unlink()
    assert Store(home.path).parts("toy/library") == {}
    assert todo(home, folder) == {
        "toy/library[group_2]": "restorable: its partitions are not current as a whole"
    }
    assert "0 built, 1 restored" in run(home, folder)
    assert rows(home) == [1, 2, 3, 4] and todo(home, folder) == {}


SCRIPT = """
import sys
from pathlib import Path
from jobs.running.driver import alone, captured, drive
from jobs.stopping import stoppable
from resources.store.home import Home
from tests.jobs import toy_groups as toy
home, folder, count = Home(Path(sys.argv[1])).prepare(), Path(sys.argv[2]), int(sys.argv[3])
plan = lambda: toy.plan(home, folder, count, workers=3)
with stoppable(), alone(home), captured(home) as (terminal, log):
    drive(home, plan(), toy.KEYS, plan, terminal, log)
"""


def start(home: Home, folder: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        in_background([sys.executable, "-c", SCRIPT, str(home.path), str(folder), str(count)]),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(folder: Path) -> list[str]:
    file = folder.parent / "built"
    return file.read_text().splitlines() if file.exists() else []


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_driver(home: Home, folder: Path, sign: signal.Signals) -> None:
    toy.order(folder, 1, "wait")
    toy.order(folder, 2, "wait")
    process = start(home, folder, 2)
    wait_for(lambda: len(lines(folder)) == 2, process)
    workers = [int(line.split()[1]) for line in lines(folder)]
    os.kill(process.pid, sign)
    process.communicate(timeout=120)
    deadline = time.monotonic() + 120
    while not all(gone(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlives its driver"
        time.sleep(0.05)
    store = Store(home.path)
    assert store.parts("toy/library") == {}
    assert [key for key, _ in store.heads()] == ["toy/numbers"]
    toy.order(folder, 1, "obey")
    toy.order(folder, 2, "obey")
    assert "3 built" in run(home, folder, workers=3)
    assert rows(home) == json.loads((folder / "a.json").read_text())
