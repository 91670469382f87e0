"""vLLM's own OpenAI-compatible server on an exported folder: started, awaited, stopped.

Knows a command, a port and a log; what a model is called and where folders lie is its caller's.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from resources.engines.vllm import environment, missing, on_cpu, plugin_missing
from resources.servers import HOST, ServerError, answers, claim, guarded, stop

READY_SECONDS = 600.0  # large weights are read from disk
CPU_CACHE_BYTES = 256 << 20


@dataclass(frozen=True)
class Server:
    """A running server: its base URL, its process, the command as a shell takes it."""

    url: str
    process: subprocess.Popen[bytes]
    command: str


def arguments(folder: Path, name: str, port: int, dtype: str) -> list[str]:
    """What `vllm serve` is given. On a CPU: the checkpoint's own dtype, and nothing compiled."""
    given = ["serve", str(folder), "--host", HOST, "--port", str(port)]
    given += ["--served-model-name", name]
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
    devices: Mapping[str, str] = MappingProxyType({}),
    patience: float = READY_SECONDS,
) -> Iterator[Server]:
    """A server that answers, for the time of the block; `extra` arguments of vLLM's come last.

    `devices` are environment variables that say which devices it may use.

    Raises ServerError when vLLM is missing, the port is taken, or the server dies or stays silent
    for `patience` seconds; the message then names the log.
    """
    reason = missing() or plugin_missing(folder)
    if reason is not None:
        raise ServerError(reason)
    claim(port)
    given = [*arguments(folder, name, port, dtype), *extra]
    own = environment()
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", *given]
    process = guarded(command, log, {**own, **devices})
    settings = " ".join(f"{key}={value}" for key, value in own.items())
    try:
        if not answers(process, f"http://{HOST}:{port}/health", patience):
            code = process.poll()
            why = f"did not answer on port {port} within {patience:g} s"
            raise ServerError(
                f"vLLM {why if code is None else f'stopped with exit code {code}'}: see {log}"
            )
        yield Server(f"http://{HOST}:{port}", process, f"{settings} vllm {shlex.join(given)}")
    finally:
        stop(process)
