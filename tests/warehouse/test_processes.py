"""Real processes: kill -9 in the middle of a build, and two builders of one artifact."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from warehouse.store import Store

Start = Callable[..., subprocess.Popen[str]]

SCRIPT = """
import sys, time
from pathlib import Path
import pyarrow as pa
from warehouse.store import Output, Request, Store

home, pace = sys.argv[1], float(sys.argv[2])

def fn(workdir, inputs, recipe, execution):
    state = workdir / "steps"
    with open(Path(home).parent / "starts", "a") as log:
        log.write("start\\n")
    done = int(state.read_text()) if state.exists() else 0
    def batches():
        for step in range(20):
            if step >= done:
                time.sleep(pace)
                state.write_text(str(step + 1))
            yield pa.record_batch({"step": [step]})
    return Output({"numbers": batches()}, metrics={"resumed_at": done})

artifact = Store(home).build(Request("x/a", None, fn, {}, {}, 0, "1"))
print(artifact.data_version, int(artifact.metrics["resumed_at"]))
"""


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 15
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def _finish(process: subprocess.Popen[str]) -> tuple[str, int]:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    version, resumed = out.split()
    return version, int(resumed)


def test_a_killed_build_goes_on_where_it_stopped(start: Start, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    undisturbed, _ = _finish(start(SCRIPT, str(tmp_path / "other" / "home"), "0"))
    home = tmp_path / "home"
    process = start(SCRIPT, str(home), "0.02")
    _wait_for(tmp_path / "starts")
    time.sleep(0.15)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Store(home).current("x/a") is None and not list(Store(home).manifests())
    (work,) = (home / "work").glob("x.a@*")
    assert 0 < int((work / "steps").read_text()) < 20
    version, resumed = _finish(start(SCRIPT, str(home), "0"))
    assert version == undisturbed and resumed > 0
    assert not list((home / "work").iterdir())


def test_two_processes_build_once_and_death_frees_the_lock(start: Start, tmp_path: Path) -> None:
    home = tmp_path / "home"
    both = [start(SCRIPT, str(home), "0.02") for _ in range(2)]
    results = {_finish(process)[0] for process in both}
    assert len(results) == 1
    assert (tmp_path / "starts").read_text().count("start") == 1

    (tmp_path / "starts").unlink()
    home = tmp_path / "second"
    holder = start(SCRIPT, str(home), "5")
    _wait_for(tmp_path / "starts")
    waiter = start(SCRIPT, str(home), "0")
    time.sleep(0.5)
    assert waiter.poll() is None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert _finish(waiter)[0] == results.pop()
