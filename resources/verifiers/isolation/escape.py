"""The probe: run as an untrusted program, it tries to get out, and says what it could do.

Run at every start of the sandbox; a single escape and nothing else is run.
"""

import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any


def escapes(
    host_pid: int, port: int, canary: str, repository: str, processes: int
) -> dict[str, list[Any]]:
    """What is possible that should not be, by name; empty when isolated.

    `host_pid`, `port` (of a listening socket), `canary` (a file) and `repository` exist outside;
    `processes` is the limit that should hold.
    """
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    interfaces = [name for _, name in socket.if_nameindex() if name != "lo"]
    outside = ("/x", "/usr/x", "/etc/x", f"{repository}/x", "/proc/sys/kernel/hostname")
    memory = resource.getrlimit(resource.RLIMIT_AS)[0]
    addresses = [("127.0.0.1", port), ("1.1.1.1", 53)]
    found: dict[str, list[Any]] = {
        "network": interfaces + [place for place in addresses if _works(_connect, place)],
        "other processes": [pid for pid in pids if pid != "1"] + [os.getpid()][os.getpid() == 1 :],
        "signals": [pid for pid in (host_pid,) if pid != 1 and _works(os.kill, pid, 0)],
        "host files": [path for path in (canary, repository) if _works(os.stat, path)],
        "writable": [path for path in outside if _works(_write, path)],
        "environment": list(os.environ),
        "open files": [number for number in range(3, 256) if _works(os.fstat, number)][1:],
        "root": [os.getuid()] * (os.getuid() == 0),
        "capabilities": [name for name in ("chroot",) if _works(os.chroot, "/")],
        "processes": [count for count in [_forks(processes + 1)] if count >= processes],
        "memory": [memory] * (memory < 0 or _works(bytearray, memory)),
    }
    _write("/tmp/own")  # its own scratch must work
    return {name: what for name, what in found.items() if what}


def _works(function: Callable[..., object], *arguments: object) -> bool:
    try:
        function(*arguments)
    except (OSError, MemoryError):
        return False
    return True


def _connect(address: tuple[str, int]) -> None:
    with socket.socket() as connection:
        connection.settimeout(1)
        connection.connect(address)


def _write(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")


def _forks(count: int) -> int:
    """How many processes could be started, `count` at most."""
    pids: list[int] = []
    try:
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            pids.append(pid)
    except OSError:
        return len(pids)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return len(pids)
