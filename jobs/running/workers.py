"""Worker processes of one run: partitions of an asset built side by side, each on its own.

Knows processes, pipes and devices; what a worker does is `jobs.running.worker`'s.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jobs.running.worker import Task
from resources.checkout import CHECKOUT
from warehouse.store import CheckFailed, CheckResult


class WorkerError(RuntimeError):
    """A worker could not build its partition, or died; the message is the reason."""


@dataclass(frozen=True)
class Watch:
    """Who is told, by the task's label, that a worker started and how it goes."""

    start: Callable[[str], None]
    progress: Callable[[str, str, float], None]


def side_by_side(
    tasks: Sequence[Task], workers: int, threads: int, watch: Watch
) -> Generator[tuple[Task, Exception | None]]:
    """Build the tasks in at most `workers` processes; yields each as it ends, None: it is built.

    `threads` are shared among the workers, and so are the GPUs that this process may use: one a
    worker. Workers that still run when the iteration is left are killed.
    """
    waiting, running = list(tasks), dict[int, Worker]()
    answers: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
    share = max(1, threads // workers)
    try:
        while waiting or running:
            for slot in range(workers):
                if waiting and slot not in running:
                    task = waiting.pop(0)
                    watch.start(task.label)
                    running[slot] = Worker(task, slot, share, answers)
            slot, answer = answers.get()
            if answer is None:
                worker = running.pop(slot)
                yield worker.task, worker.outcome()
            elif "progress" in answer:
                watch.progress(running[slot].task.label, *answer["progress"])
            else:
                running[slot].last = answer
    finally:
        for worker in running.values():
            worker.kill()


class Worker:
    """One process with one task; its answers, then None, come into a queue under its slot."""

    def __init__(
        self,
        task: Task,
        slot: int,
        threads: int,
        answers: queue.Queue[tuple[int, dict[str, Any] | None]],
    ) -> None:
        self.task = task
        self.last: dict[str, Any] = {}
        # A session of its own: Ctrl-C reaches the driver alone, which ends its workers in order.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobs.running.worker"],
            cwd=CHECKOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), **device(slot, os.environ)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(slot, answers), daemon=True).start()
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):  # it died at once: its outcome says so
                self.process.stdin.write(task.to_line())
                self.process.stdin.flush()

    def _read(self, slot: int, answers: queue.Queue[tuple[int, dict[str, Any] | None]]) -> None:
        for line in self.process.stdout or ():
            with suppress(ValueError):  # cut off by a kill
                answers.put((slot, json.loads(line)))
        answers.put((slot, None))

    def outcome(self) -> Exception | None:
        """Why there is no result, once the process has ended; None where it is built."""
        code = self.process.wait()
        self._close()
        if "made" in self.last:
            return None
        if "checks" in self.last:
            results = [CheckResult(**values) for values in self.last["checks"]]
            return CheckFailed(self.last["failed"], results)
        if "failed" in self.last:
            return WorkerError(self.last["failed"])
        if code < 0:
            return WorkerError(f"its worker was killed by {signal.Signals(-code).name}")
        return WorkerError(f"its worker ended with exit code {code} and gave no reason")

    def kill(self) -> None:
        """End the process and those that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def device(slot: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The variable by which the worker in a slot sees one GPU of those that are visible here.

    Empty where CUDA_VISIBLE_DEVICES names none, so that every worker sees all there are.
    """
    visible = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return {"CUDA_VISIBLE_DEVICES": visible[slot % len(visible)]} if visible else {}
