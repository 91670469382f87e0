"""The isolated server: one process that starts, watches and ends the processes of many programs.

It never reads a job. For each job it forks a tester, which forks the program's process and only
then reads the job from a socket of its own; so no program descends from a process that has held a
test. The server holds deadlines, and when a tester ends for whatever reason it kills the program's
process, and all that it started dies with it: it is process 1 of its namespace, or has no children.

Run by `programs/sandbox.py` as: python -c "...main(control socket, tier)". Standard library only.
"""

import gc
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from resources.verifiers.isolation import imports, program, tester
from resources.verifiers.isolation.connection.peer import Peer
from resources.verifiers.isolation.kernel.rights import one_thread
from resources.verifiers.isolation.tiers import TIERS, Tier

GRACE_SECONDS = 2.0  # the tester's own time on top of the program's wall limit
_IDLE_SECONDS = 60.0
_TESTER_MEMORY = 1 << 30  # bytes


@dataclass
class Job:
    """The processes of one job, as process descriptors."""

    deadline: float
    file_bytes: int
    pid_pipe: int
    tester: int
    tester_pid: int
    program: int | None = None
    program_pid: int = 0


def main(control_descriptor: int, tier_name: str, libraries: Sequence[str] = ()) -> None:
    """Isolate, say so on the control socket, and serve until it closes.

    `libraries` are the folders and files that programs may import beside the standard library.
    """
    control = socket.socket(fileno=control_descriptor)
    tier = TIERS[tier_name](libraries)
    imports.install(libraries)
    one_thread()
    try:
        tier.open()
    except OSError as error:
        control.send(json.dumps({"error": str(error)}).encode())
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"ready": True}).encode())
    Server(control, tier).serve()


class Server:
    """The event loop: new jobs, pids of programs, ends of processes, deadlines."""

    def __init__(self, control: socket.socket, tier: Tier) -> None:
        self.control = control
        self.tier = tier
        self.jobs: list[Job] = []
        self.selector = selectors.DefaultSelector()
        self.selector.register(control, selectors.EVENT_READ, self._accept)

    def serve(self) -> None:
        """Serve until the control socket closes; then end all other processes and this one."""
        while True:
            now = time.monotonic()
            for job in self.jobs:
                if job.deadline <= now:
                    _kill(job.tester)
                if job.program and self.tier.overdrawn(job.program_pid, job.file_bytes):
                    _kill(job.program)
            due = (min(job.deadline - now, self.tier.poll_seconds) for job in self.jobs)
            wait = min(due, default=_IDLE_SECONDS)
            for key, _ in self.selector.select(min(max(wait, 0.05), _IDLE_SECONDS)):
                if key.fileobj in self.selector.get_map():
                    key.data()

    def _accept(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self.control, 4096, 1)
        if not message:
            self._end()
        limits = json.loads(message)
        pid_read, pid_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_tester(descriptors[0], pid_write)
        os.close(descriptors[0])
        os.close(pid_write)
        deadline = time.monotonic() + limits["wall_seconds"] + GRACE_SECONDS
        job = Job(deadline, limits["file_bytes"], pid_read, os.pidfd_open(pid), pid)
        self.jobs.append(job)
        self._watch(job.pid_pipe, lambda: self._started(job))
        self._watch(job.tester, lambda: self._tester_ended(job))

    def _watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        self.selector.register(descriptor, selectors.EVENT_READ, callback)

    def _started(self, job: Job) -> None:
        """The tester says which process is the program (or ended before it could)."""
        data = os.read(job.pid_pipe, 4)
        self.selector.unregister(job.pid_pipe)
        os.close(job.pid_pipe)
        job.pid_pipe = -1
        if len(data) == 4:
            job.program_pid = int.from_bytes(data, "big")
            job.program = os.pidfd_open(job.program_pid)  # nobody but this process reaps it

    def _tester_ended(self, job: Job) -> None:
        if job.pid_pipe >= 0:
            self._started(job)
        self._forget(job.tester)
        os.waitpid(job.tester_pid, 0)
        job.deadline = float("inf")
        if job.program is None:
            self.jobs.remove(job)
            return
        _kill(job.program)
        self._watch(job.program, lambda: self._program_ended(job))

    def _program_ended(self, job: Job) -> None:
        if job.program is not None:
            self._forget(job.program)
            job.program = None
        os.waitpid(job.program_pid, 0)
        self.tier.ended(job.program_pid)
        self.jobs.remove(job)

    def _end(self) -> None:
        for job in self.jobs:
            for descriptor, pid in ((job.tester, job.tester_pid), (job.program, job.program_pid)):
                with suppress(OSError):  # it has ended already
                    if descriptor is not None:
                        _kill(descriptor)
                        os.waitpid(pid, 0)
        self.tier.close()
        os._exit(0)

    def _forget(self, descriptor: int) -> None:
        self.selector.unregister(descriptor)
        os.close(descriptor)

    def _become_tester(self, connection: int, pid_write: int) -> None:
        """In the forked child: fork the program's process, then read the job and judge."""
        try:
            keep = sorted({0, 1, 2, connection, pid_write, *self.tier.descriptors()})
            for low, high in zip(keep, [*keep[1:], 4096], strict=True):
                os.closerange(low + 1, high)
            mine, theirs = socket.socketpair()
            output = os.memfd_create("output")
            self.tier.before_program()
            pid = os.fork()
            if pid == 0:
                for descriptor in (connection, pid_write, mine.detach()):
                    os.close(descriptor)
                program.run(theirs, output, self.tier)
            theirs.close()
            os.write(pid_write, pid.to_bytes(4, "big"))
            os.close(pid_write)
            self.tier.enter_tester(_TESTER_MEMORY)
            job = Peer(socket.socket(fileno=connection), serves_objects=False)
            order = job.receive()
            peer = Peer(mine, serves_objects=False)
            job.send(
                {"nonce": order["nonce"]}
                | tester.run(order, peer, pid, output, self.tier.killed_for)
            )
        finally:
            os._exit(0)


def _kill(descriptor: int) -> None:
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
