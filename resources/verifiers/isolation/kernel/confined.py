"""The second tier: isolation without namespaces, for containers that give none.

A program is one process of the host with threads and no children, which may read the system's and
Python's files and write its scratch folder (Landlock), ask the kernel for little else (seccomp),
and, where the server is root, is another user. What names no file stays visible to it: that a path
it guesses exists, its size and times. Needs Linux >= 5.13 with Landlock, on x86-64 or aarch64.
"""

import ctypes
import errno
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from resources.verifiers.isolation.kernel import landlock, scratch, seccomp, syscalls
from resources.verifiers.isolation.kernel.namespaces import FILES
from resources.verifiers.isolation.kernel.rights import (
    NOBODY,
    become,
    drop_capabilities,
    prctl,
    set_capabilities,
    set_limits,
    set_tester_limits,
)

# What Python and the libraries that it loads read. Not all of /usr, where a container's own work
# may lie.
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib")
_DATA = ("/usr/share/zoneinfo", "/usr/share/locale", "/nix/store")
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_CHILD_SUBREAPER = 1, 8, 36
_CAP_SETUID = 1 << 7
_USERS, _FIRST_USER = 4096, 61184  # ids that no account has: systemd's range for passing services
_SLACK = 16  # times a program's processes: what others of the user may start meanwhile

_libc = ctypes.CDLL(None, use_errno=True)


class Confined:
    """The tier as the server uses it; see `tiers.Tier`."""

    name = "landlock"
    poll_seconds = 0.05
    killed_for = "memory or files"

    def __init__(self, libraries: Sequence[str] = ()) -> None:
        self.libraries = libraries

    def open(self) -> None:
        """Find out what there is, as the server; raises OSError saying what is missing."""
        landlock.version()
        machine = os.uname().machine
        if machine not in seccomp.AUDIT_ARCH or sys.maxsize < 1 << 32 or sys.byteorder != "little":
            raise OSError(errno.ENOSYS, f"no table of system calls for {machine}")
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self.removing: list[int] = []
        self.numbers = syscalls.numbers(machine)
        self.root = os.geteuid() == 0
        prefix = os.path.realpath(sys.base_prefix)
        self.python = (f"{prefix}/lib", f"{prefix}/{sys.platlibdir}")
        needed = [os.path.realpath(os.__file__), *self.libraries]
        self.closed = self.root and not all(map(_open_to_all, needed))
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="heirloom-programs-"))
        os.chmod(self.folder, 0o711)

    def descriptors(self) -> list[int]:
        """Open files that a tester's process has to keep: none."""
        return []

    def before_program(self) -> None:
        """Nothing has to be prepared in the parent of a program's process."""

    def enter_program(
        self, connection: socket.socket, output: int, limits: Mapping[str, Any]
    ) -> None:
        """Confine the calling process for good, as one program.

        Afterwards open files are 0 (/dev/null), 1 and 2 (`output`) and `connection`.
        """
        parent, own = os.getppid(), f"{self.folder}/{os.getpid()}"
        os.setsid()
        os.mkdir(own, 0o700)
        os.chdir(own)
        tempfile.tempdir = own
        user = _FIRST_USER + os.getpid() % _USERS
        if self.root and not self.closed:
            os.chown(own, user, user)
        rules = self._readable()
        rules.allow(landlock.SCRATCH, [own])
        processes = int(limits["processes"])
        if self.root:
            self._become(user)
        else:
            processes = _processes_of_user() + _SLACK * processes
        self._restrict(rules, parent)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, connection.fileno())
        os.closerange(connection.fileno() + 1, 4096)
        os.umask(0o077)
        set_limits({**limits, "processes": processes})
        self._filter()

    def enter_tester(self, memory_bytes: int) -> None:
        """Confine the calling process, a tester: as a program, without a folder to write."""
        parent, rules = os.getppid(), self._readable()
        if self.root:
            self._become(NOBODY)
        self._restrict(rules, parent)
        set_tester_limits(memory_bytes)
        self._filter()

    def overdrawn(self, program: int, file_bytes: int) -> bool:
        """Whether a program's scratch folder holds more than it may."""
        return scratch.overdrawn(f"{self.folder}/{program}", file_bytes)

    def ended(self, program: int) -> None:
        """Remove what a program left, once its process is gone; nobody waits for a large heap."""
        own = f"{self.folder}/{program}"
        try:
            os.rmdir(own)
        except FileNotFoundError:
            return
        except OSError:
            self._remove(own)

    def close(self) -> None:
        """Remove the folder of all programs."""
        self._remove(self.folder)
        for pid in self.removing:
            os.waitpid(pid, 0)

    def _remove(self, folder: str) -> None:
        self.removing = [pid for pid in self.removing if os.waitpid(pid, os.WNOHANG)[0] == 0]
        pid = os.fork()
        if pid == 0:
            with suppress(OSError):  # what cannot be removed stays, in a folder of nobody else
                scratch.remove(folder)
            os._exit(0)
        self.removing.append(pid)

    def _readable(self) -> landlock.Ruleset:
        rules = landlock.Ruleset()
        folders = dict.fromkeys((*_LIBRARIES, *_DATA, *self.python, *self.libraries))
        rules.allow(landlock.READ, [path for path in folders if os.path.exists(path)])
        files = [path for path in FILES if os.path.exists(path)]
        rules.allow(landlock.READ, [path for path in files if not path.startswith("/dev/")])
        rules.allow(landlock.DEVICE, [path for path in files if path.startswith("/dev/")])
        return rules

    def _become(self, user: int) -> None:
        """Be another user; where Python lies in a folder of root's alone, look at files as root.

        Even so without root's capabilities, and behind Landlock.
        """
        if self.closed:
            prctl(_PR_SET_KEEPCAPS, 1)
        become(user)
        if self.closed:
            set_capabilities(_CAP_SETUID)
            _libc.setfsuid(0)
            _libc.setfsgid(0)

    def _restrict(self, rules: landlock.Ruleset, parent: int) -> None:
        drop_capabilities()
        prctl(_PR_SET_PDEATHSIG, 9)
        if os.getppid() != parent:
            raise OSError(errno.ESRCH, "the parent is gone")
        rules.apply()

    def _filter(self) -> None:
        machine = os.uname().machine
        seccomp.apply(seccomp.assemble(machine, self.numbers, syscalls.TESTS, os.getpid()))


def _open_to_all(path: str) -> bool:
    """Whether any user may read this file: itself, and every folder on the way."""
    folders = [path]
    while folders[-1] != "/":
        folders.append(os.path.dirname(folders[-1]))
    modes = [os.stat(each).st_mode for each in folders]
    return bool(modes[0] & 0o004) and all(mode & 0o001 for mode in modes[1:])


def _processes_of_user() -> int:
    """How many threads the kernel counts for this user, in other containers too: by trying."""
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    low, high = 0, 64
    while not _can_fork(high, hard):
        low, high = high, high * 2
        if hard != resource.RLIM_INFINITY and high >= hard:
            high = hard
            break
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _can_fork(middle, hard) else (middle, high)
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
    return high - 1


def _can_fork(limit: int, hard: int) -> bool:
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    try:
        pid = os.fork()
    except BlockingIOError:
        return False
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True
