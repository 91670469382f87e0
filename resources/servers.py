"""A server as a child process on loopback: its port, its readiness, its end.

Knows processes, ports and signals; what is served, and what a failure means, is its caller's.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from resources.checkout import CHECKOUT

HOST = "127.0.0.1"
_POLL = 0.3


class ServerError(RuntimeError):
    """The server cannot be started or stopped by itself; the message says why."""


def claim(port: int) -> None:
    """Raise ServerError where the port is taken on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServerError(
                f"port {port} on {HOST} is taken ({error.strerror}); choose one with --port"
            ) from error


def unused() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def guarded(command: Sequence[str], log: Path, own: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a server that ends when this process does, however that ends.

    `own` are environment variables of it beside ours. It leads a session: Ctrl-C reaches us alone,
    and the whole group is stopped in order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "resources.guardian", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own, "PYTHONPATH": _path()},
            start_new_session=True,
        )


def _path() -> str:
    """The modules' path of a child, which may start in another folder."""
    return os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])


def answers(process: subprocess.Popen[bytes], url: str, patience: float) -> bool:
    """Whether `url` answers before `patience` seconds are over; False as soon as it has died."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return True
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL)
    return False


def stop(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """Interrupt a server that leads a session; kill what is left after `patience` seconds."""
    if process.stdin is not None:
        process.stdin.close()
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience / 4
        try:
            os.killpg(process.pid, sign)  # its children share its group, also once it is gone
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return
