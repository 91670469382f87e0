"""A server ends with whoever started it, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from resources.servers import guarded, stop

ROOT = Path(__file__).parents[2]
CHILD = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
STARTER = """
import sys, time
from pathlib import Path
from resources.servers import guarded
process = guarded([sys.executable, "-c", sys.argv[1], sys.argv[2]], Path(sys.argv[3]), {})
time.sleep(60)
"""


def started(place: Path) -> int:
    while not place.exists() or not place.read_text():
        time.sleep(0.05)
    return int(place.read_text())


def gone(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_where_its_starter_is_killed(tmp_path: Path, sign: int) -> None:
    place, log = tmp_path / "pid", tmp_path / "log"
    command = [sys.executable, "-c", STARTER, CHILD, str(place), str(log)]
    starter = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    pid = started(place)
    starter.send_signal(sign)
    starter.wait()
    assert gone(pid)


def test_it_ends_where_it_is_stopped(tmp_path: Path) -> None:
    place = tmp_path / "pid"
    process = guarded([sys.executable, "-c", CHILD, str(place)], tmp_path / "log", {})
    pid = started(place)
    assert process.poll() is None
    stop(process)
    assert gone(pid) and process.poll() is not None


def test_it_tells_how_its_command_ended(tmp_path: Path) -> None:
    said = "import sys; print('why'); sys.exit(3)"
    process = guarded([sys.executable, "-c", said], tmp_path / "log", {"SOME": "1"})
    assert process.wait(60) == 3 and (tmp_path / "log").read_text() == "why\n"
    stop(process)
