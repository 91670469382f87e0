"""`heirloom ui`: Dagster's web server and daemon on one home, on loopback, stopped together.

Knows processes and a port; what the two of them show is defined in `definitions.py`.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress

from jobs.errors import CommandError
from jobs.keys import named
from resources.store import home as homes
from resources.store import last_run

HOST = "127.0.0.1"
READY_SECONDS = 120


def main(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; 0 after a clean stop, 1 when either process dies by itself."""
    home = homes.find(arguments.home).prepare()
    last_run.hand_on(named(home, arguments))
    _claim(arguments.port)
    command = [sys.executable, "-m", "dagster", "dev", "-h", HOST, "-p", str(arguments.port)]
    command += ["-m", "definitions", "-d", str(homes.CHECKOUT), "--log-level", "warning"]
    log = home.logs / "ui.log"
    with log.open("w") as output:
        # A session of its own: Ctrl-C reaches us alone, and the whole group is stopped in order.
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _wait_until_ready(server, arguments.port)
        print(f"Dagster UI on http://{HOST}:{arguments.port}  (log: {log}; Ctrl-C stops it)")
        sys.stdout.flush()
        server.wait()
    except KeyboardInterrupt:
        print("stopping", flush=True)
        stop(server)
        return 0
    except BaseException:
        stop(server)
        raise
    raise CommandError(
        f"the Dagster UI stopped by itself (exit code {server.returncode}): see {log}"
    )


def stop(server: subprocess.Popen[bytes], patience: float = 30.0) -> None:
    """Interrupt web server, daemon and code server; kill what is left after `patience` seconds."""
    server.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        server.wait(patience)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience / 3
        try:
            os.killpg(server.pid, sign)  # its children share its group
            while time.monotonic() < deadline:
                server.poll()
                os.killpg(server.pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _claim(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"port {port} on {HOST} is taken ({error.strerror}); choose one with --port"
            ) from error


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            return
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/server_info", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise CommandError(f"the Dagster UI did not answer on port {port} within {READY_SECONDS} s")
