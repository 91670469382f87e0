"""A real daemon: a file dropped into the watched folder is built without anybody asking."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from resources.checkout import CHECKOUT
from resources.store.home import Home
from resources.store.processes import TAG
from warehouse.store import Store

LOCATION = ["-m", "tests.sensors.toy_location", "-d", str(CHECKOUT)]
PATIENCE = 240.0  # two ticks, 30 s apart, and two runs on a busy machine


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dropped_file_is_built(
    home: Home, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FOLDER", str(folder))
    dagster = [sys.executable, "-m", "dagster"]
    switched = subprocess.run(
        [*dagster, "sensor", "start", "rebuild", *LOCATION], cwd=CHECKOUT, capture_output=True
    )
    assert switched.returncode == 0, switched.stderr

    def total() -> float:
        artifact = Store(home.path).current("toy/total")
        return 0.0 if artifact is None else artifact.metrics["sum"]

    def settled() -> bool:
        return all(run.is_finished for run in instance.get_runs())

    log = tmp_path / "daemon.log"
    with log.open("wb") as output, dg.DagsterInstance.get() as instance:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", *LOCATION],
            cwd=CHECKOUT,
            stdout=output,
            stderr=output,
        )
        try:
            wait_for(lambda: total() == 12 and settled(), daemon, log)
            (folder / "b.json").write_text(json.dumps([6]))
            wait_for(lambda: total() == 24 and settled(), daemon, log)
            runs = instance.get_runs()
        finally:
            daemon.send_signal(signal.SIGINT)
            daemon.wait(60)
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
    assert len({run.tags[TAG] for run in runs}) == 2, "each run has a process of its own"
    assert len((folder.parent / "calls").read_text().splitlines()) == 2
