"""Runs a function on several ranks: processes of this machine, and of other hosts, under torchrun.

The ranks die with the process that asked for them; what a rank fails with comes back as one line.
It knows processes and JSON; what the ranks compute, and how they find each other, is theirs and
torchrun's.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from resources.execution import Execution, Progress

PORT = 29500  # where ranks of several hosts meet, unless the first host is given as name:port
PATIENCE = 3600  # seconds that a host waits for the others
DRIVER = "HEIRLOOM_DRIVER"  # set where standard input is a pipe from the driver
NO_ANSWER = object()


class RankError(RuntimeError):
    """A rank failed; `rank` is None where none said why, `kind` the class of what it raised."""

    def __init__(self, message: str, rank: int | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.rank, self.kind = rank, kind


class Finished(BaseException):
    """Ends a rank that has nothing left to do; see `first_goes_on`."""


def several(execution: Execution) -> bool:
    """Whether these execution settings ask for more than one process, and this is not one yet."""
    return execution.processes > 1 and "RANK" not in os.environ


def run(target: str, arguments: Mapping[str, Any], execution: Execution, folder: Path) -> Any:
    """What rank 0's `target(**arguments, execution=execution)` returns; "module:function".

    The function runs on `execution.ranks` processes of each of `execution.hosts`; it joins
    the group itself (`runtime.bring_up`). With one process, or in a rank already, it is simply
    called. Arguments and result are plain JSON values. `folder`, which all hosts must see, takes
    `ranks.json` and the log of what the ranks print. With several hosts this one must be the
    first; the command that each other one has to be given goes to standard error.
    Raises RankError when a rank fails.
    """
    if not several(execution):
        return load(target)(**arguments, execution=execution)
    hosts, ranks = execution.hosts, execution.ranks
    folder.mkdir(parents=True, exist_ok=True)
    spec, log = folder / "ranks.json", folder / "ranks.log"
    task = {"target": target, "arguments": dict(arguments), "execution": execution.recorded()}
    try:
        spec.write_text(json.dumps(task))
    except TypeError as error:
        raise TypeError(
            f"{target}: arguments of ranks must be plain JSON values: {error}"
        ) from None
    for number, host in enumerate(hosts[1:], 1):
        print(f"on {host}, run: {' '.join(command(spec, ranks, hosts, number))}", file=sys.stderr)
    return _drive(command(spec, ranks, hosts, 0), log, execution.progress, len(hosts))


def command(spec: Path, ranks: int, hosts: Sequence[str], number: int) -> list[str]:
    """What starts the ranks of host `number`: torchrun, in its long form."""
    found = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
    found.append("--max-restarts=0")  # a run goes on from its checkpoint, as a whole
    if len(hosts) < 2:
        found.append("--standalone")
    else:
        name, _, port = hosts[0].partition(":")
        found += [
            f"--nnodes={len(hosts)}",
            f"--node-rank={number}",
            f"--master-addr={name}",
            f"--master-port={port or PORT}",
            f"--rdzv-conf=timeout={PATIENCE}",
        ]
    return [*found, "-m", "resources.training.ranks.launch", str(spec)]


def first_goes_on() -> None:
    """Ends every rank but the first, successfully: what is left to do takes no other ranks."""
    if int(os.environ.get("RANK", "0")):
        raise Finished


def _drive(arguments: Sequence[str], log: Path, progress: Progress, hosts: int) -> Any:
    """Start a host's torchrun and follow its ranks until they end."""
    failures: list[dict[str, Any]] = []
    result: Any = NO_ANSWER
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            arguments,
            env={**os.environ, DRIVER: "1", "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process, which ends them in order
        )
    try:
        for line in process.stdout or ():
            with suppress(ValueError):  # cut off by a kill
                answer = json.loads(line)
                if "progress" in answer:
                    progress(*answer["progress"])
                elif "result" in answer:
                    result = answer["result"]
                elif "failed" in answer:
                    failures.append(answer)
        code = process.wait()
    finally:
        _end(process)
    if failures:
        # The first to fail is the cause; the others then lose their connections.
        first = failures[0]
        raise RankError(f"rank {first['rank']}: {first['failed']}", first["rank"], first["kind"])
    if code or result is NO_ANSWER:
        elsewhere = "; the ranks of other hosts say there what happened" if hosts > 1 else ""
        raise RankError(f"{_reason(log, code)}; see {log}{elsewhere}")
    return result


def _end(process: subprocess.Popen[str]) -> None:
    """Ranks end when their standard input does, and torchrun with them."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _reason(log: Path, code: int) -> str:
    """What torchrun reports of ranks that could not say it themselves."""
    text = log.read_text(errors="replace").rpartition("Root Cause")[2]
    found = re.search(r"rank\s*:\s*(\d+).*?\n\s*exitcode\s*:\s*(-?\d+)", text)
    if found is None:
        return f"the ranks ended with exit code {code} and no result"
    rank, status = int(found[1]), int(found[2])
    if status < 0:
        return f"rank {rank} was killed by {signal.Signals(-status).name}"
    return f"rank {rank} ended with exit code {status}"


def load(target: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def main(spec: str) -> int:
    """One rank, as torchrun starts it."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if os.environ.pop(DRIVER, None):
        threading.Thread(target=_end_with_driver, daemon=True).start()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    rank = int(os.environ["RANK"])

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    def progress(message: str, fraction: float) -> None:
        answer(progress=[message, fraction])

    try:
        task = json.loads(Path(spec).read_text())
        execution = Execution.read(task["execution"])
        share = execution.threads // int(os.environ["LOCAL_WORLD_SIZE"])
        execution = execution.but(threads=max(1, share))
        if rank == 0:
            execution = execution.but(progress=progress)
        result = load(task["target"])(**task["arguments"], execution=execution)
        if rank == 0:
            answer(result=result)
    except Finished:
        return 0
    except BaseException as error:
        traceback.print_exc()
        words = " ".join(str(error).split()) or "no message"
        kind = type(error).__name__
        # Short enough to be written at once: other ranks write to the same pipe.
        answer(rank=rank, failed=f"{kind}: {words}"[:2000], kind=kind)
        return 1
    return 0


def _end_with(parent: int) -> None:
    """Kill this process once its parent, torchrun, is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def _end_with_driver() -> None:
    """Kill this process once the driver is gone: then standard input ends."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # The module that functions import, not a copy of it.
    from resources.training.ranks import launch

    code = launch.main(sys.argv[1])
    sys.stdout.flush()
    sys.stderr.flush()
    # The work is done and answered: threads of libraries that still run could only abort the exit.
    os._exit(code)
