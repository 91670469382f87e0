"""vLLM's own OpenAI-compatible server on an exported folder: started, awaited, stopped.

Knows a command, a port and a log; what a model is called and where folders lie is its caller's.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from resources.engines.vllm import environment, missing, on_cpu

HOST = "127.0.0.1"
READY_SECONDS = 600.0  # large weights are read from disk
CPU_CACHE_BYTES = 256 << 20
_POLL = 0.3


class ServerError(RuntimeError):
    """The server cannot be started or stopped by itself; the message says why."""


@dataclass(frozen=True)
class Server:
    """A running server: its base URL, its process, the command as a shell takes it."""

    url: str
    process: subprocess.Popen[bytes]
    command: str


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


def arguments(folder: Path, name: str, port: int, dtype: str) -> list[str]:
    """What `vllm serve` is given. On a CPU: the checkpoint's own dtype, and nothing compiled."""
    given = ["serve", str(folder), "--host", HOST, "--port", str(port)]
    given += ["--served-model-name", name, "--trust-remote-code"]
    if on_cpu():
        given += ["--dtype", dtype, "--enforce-eager"]
        given += ["--kv-cache-memory-bytes", str(CPU_CACHE_BYTES)]
    return given


@contextmanager
def serving(
    folder: Path,
    name: str,
    port: int,
    *,
    log: Path,
    dtype: str,
    extra: Sequence[str] = (),
    patience: float = READY_SECONDS,
) -> Iterator[Server]:
    """A server that answers, for the time of the block; `extra` arguments of vLLM's come last.

    Raises ServerError when vLLM is missing, the port is taken, or the server dies or stays silent
    for `patience` seconds; the message then names the log.
    """
    reason = missing()
    if reason is not None:
        raise ServerError(reason)
    claim(port)
    given = [*arguments(folder, name, port, dtype), *extra]
    own = environment()
    with log.open("w") as output:
        # A session of its own: Ctrl-C reaches us alone, and the whole group is stopped in order.
        process = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.cli.main", *given],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own},
            start_new_session=True,
        )
    settings = " ".join(f"{key}={value}" for key, value in own.items())
    try:
        _wait(process, port, log, patience)
        yield Server(f"http://{HOST}:{port}", process, f"{settings} vllm {shlex.join(given)}")
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """Interrupt the server and its engine; kill what is left after `patience` seconds."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience / 4
        try:
            os.killpg(process.pid, sign)  # its children share its group
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"vLLM stopped with exit code {process.returncode}: see {log}")
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL)
    raise ServerError(f"vLLM did not answer on port {port} within {patience:g} s: see {log}")
