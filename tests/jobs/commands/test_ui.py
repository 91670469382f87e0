"""`heirloom ui`: real web server and daemon come up with the whole family, go down together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from assets.catalog import STAGES
from resources.checkout import CHECKOUT
from resources.servers import HOST, ServerError, claim
from resources.store.home import Home
from tests.jobs.background import in_background

PATIENCE = 240.0  # seconds; about 10 on a quiet machine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def test_a_taken_port_is_refused() -> None:
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        with pytest.raises(ServerError, match="choose one with --port"):
            claim(holder.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ui_shows_the_family_and_stops_clean(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, out = free_port(), tmp_path / "out"
    command = [sys.executable, "-m", "jobs.cli", "ui", "--port", str(port)]
    command += ["--home", str(home.path), "--recipe", "smoke"]
    with out.open("wb") as output:
        process = subprocess.Popen(
            in_background(command), cwd=CHECKOUT, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while "Dagster UI on" not in out.read_text():
            assert process.poll() is None and time.monotonic() < deadline, out.read_text()
            time.sleep(0.2)
        query = {"query": "{ assetNodes { groupName } }"}
        request = urllib.request.Request(
            f"http://{HOST}:{port}/graphql",
            json.dumps(query).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            nodes = json.load(answer)["data"]["assetNodes"]
        assert {node["groupName"] for node in nodes} == set(STAGES)
        group = next(
            int(child)
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children")
            .read_text()
            .split()
        )
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(120)
    assert code == 0, out.read_text()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
