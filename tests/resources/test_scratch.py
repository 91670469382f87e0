"""Temporary folders of killed owners are taken away by the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from resources.checkout import CHECKOUT
from resources.scratch import scratch, sweep

HOLDS = """
import sys, time
from resources.scratch import scratch
with scratch("heirloom-test") as place:
    (place / "inner").mkdir()
    (place / "inner" / "file").write_text("x")
    print(place, flush=True)
    time.sleep(600)
"""


def test_a_killed_owners_folder_goes_with_the_next_and_a_living_ones_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        left = Path(holder.stdout.readline().strip())
        assert left.parent == tmp_path and str(holder.pid) in left.name
        assert sweep("heirloom-test") == [] and left.is_dir()
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert left.is_dir()  # nobody could clean up
    with scratch("heirloom-test") as place:
        assert not left.exists() and place.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_bears_no_owner_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "heirloom-test-old-one").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "heirloom-test-999999999-x").symlink_to(tmp_path / "elsewhere")
    assert sweep("heirloom-test") == []
    assert len(list(tmp_path.iterdir())) == 3
