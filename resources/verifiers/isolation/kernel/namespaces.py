"""The first tier: isolation by Linux namespaces and mounts, through the C library.

Two levels. The server's namespaces hold a read-only view of the system directories that Python
needs, no network and no process of the host. Each program gets its own user, process, mount and IPC
namespaces inside, an own /proc and /tmp, no capability, and limits. Needs Linux >= 5.12 and the
right to make user namespaces; every function raises OSError with the failing call.
"""

import ctypes
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from resources.verifiers.isolation.kernel.rights import (
    NOBODY,
    become,
    check,
    drop_capabilities,
    prctl,
    set_limits,
    set_tester_limits,
)

NEWNS, NEWUTS, NEWIPC = 0x00020000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8
_BIND, _REC, _PRIVATE, _DETACH = 4096, 16384, 1 << 18, 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_PR_SET_DUMPABLE, _PR_SET_PDEATHSIG = 4, 1
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
_SYS_MOUNT_SETATTR = 442
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
FILES = ("/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int, what: str) -> None:
    """Leave the given namespaces for new ones."""
    check(_libc.unshare(flags), f"unshare {what}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    encoded_kind = kind.encode() if kind else None
    result = _libc.mount(
        source.encode(), target.encode(), encoded_kind, ctypes.c_ulong(flags), data.encode()
    )
    check(result, f"mount {source} on {target}")


def enter_server() -> None:
    """Put the calling process into new namespaces, its children into a new process namespace.

    As root, two ids are mapped, so that programs run under another id than the server.
    """
    parent = os.getpid()
    ready_read, ready_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(ready_write)
            if os.read(ready_read, 1):
                _map_ids(parent, os.getuid(), os.getgid())
                status = 0
        finally:
            os._exit(status)
    os.close(ready_read)
    try:
        flags = NEWUSER | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS
        unshare(flags, "user, mount, process, network, IPC and host name namespaces")
        os.write(ready_write, b"1")
    finally:
        os.close(ready_write)
        _, status = os.waitpid(helper, 0)
    if status != 0:
        raise OSError("the user namespace could not be given its user ids")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _map_ids(pid: int, uid: int, gid: int) -> None:
    if uid == 0:
        try:
            for name in ("uid", "gid"):
                _write(f"/proc/{pid}/{name}_map", f"0 0 1\n{NOBODY} {NOBODY} 1\n")
            return
        except OSError:  # root of a container that owns a single id: that one alone
            if _read_at(_AT_FDCWD, f"/proc/{pid}/uid_map").strip():
                raise
    _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", f"0 {uid} 1\n")
    _write(f"/proc/{pid}/gid_map", f"0 {gid} 1\n")


def build_root(libraries: Sequence[str] = ()) -> None:
    """Replace the file system by a read-only view of the system directories, as process 1.

    `libraries` are more folders and files to show.
    """
    mount("none", "/", None, _REC | _PRIVATE)
    root = "/tmp"
    mount("sandbox", root, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path in ("/proc", "/dev", "/etc", "/tmp", "/old"):
        os.mkdir(root + path)
    os.chmod(root + "/tmp", 0o555)
    for path in dict.fromkeys((*SYSTEM, os.path.realpath(sys.base_prefix), *libraries)):
        _show(path, root)
    for path in FILES:
        if os.path.exists(path):
            with open(root + path, "w"):
                pass
            mount(path, root + path, None, _BIND)
    os.symlink("/tmp", root + "/dev/shm")
    os.symlink("/proc/self/fd", root + "/dev/fd")
    mount_proc(root + "/proc")
    os.chdir(root)
    check(_libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b"old"), "pivot_root")
    os.chdir("/")
    check(_libc.umount2(b"/old", _DETACH), "umount of the old root")
    os.rmdir("/old")
    attributes = (ctypes.c_uint64 * 4)(_RDONLY | _NOSUID, 0, 0, 0)
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, ctypes.sizeof(attributes)
    )
    check(result, "making the root read-only (needs Linux 5.12)")
    socket.sethostname("sandbox")


def _show(path: str, root: str) -> None:
    """Make a directory visible at the same path in the new root; a link stays a link."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), root + path)
    elif os.path.isdir(path) and not os.path.exists(root + path):
        os.makedirs(root + path, mode=0o755)
        mount(path, root + path, None, _BIND | _REC)
    elif os.path.isfile(path) and not os.path.exists(root + path):
        os.makedirs(os.path.dirname(root + path), mode=0o755, exist_ok=True)
        with open(root + path, "w"):
            pass
        mount(path, root + path, None, _BIND)


def mount_proc(target: str) -> bool:
    """Mount a /proc of this process namespace; False where the host hides parts of its own /proc
    (then there is none at all, and nothing of the host shows either)."""
    try:
        mount("proc", target, "proc", _NOSUID | _NODEV | _NOEXEC)
    except PermissionError:
        return False
    return True


class Namespaces:
    """The tier as the server uses it; see `tiers.Tier`."""

    name = "namespaces"
    poll_seconds = 60.0
    killed_for = "memory"

    def __init__(self, libraries: Sequence[str] = ()) -> None:
        self.libraries = libraries

    def open(self) -> None:
        """Go on as process 1 of new namespaces; raises OSError with the call that failed."""
        self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
        enter_server()
        child = os.fork()
        if child != 0:
            os.closerange(3, 4096)
            os.waitpid(child, 0)
            os._exit(0)
        build_root(self.libraries)

    def descriptors(self) -> list[int]:
        """Open files that a tester's process has to keep."""
        return [self.proc]

    def before_program(self) -> None:
        """Give the next child of the calling process a process namespace of its own."""
        unshare(NEWPID, "the program's process namespace")

    def enter_program(
        self, connection: socket.socket, output: int, limits: Mapping[str, Any]
    ) -> None:
        """See the function."""
        enter_program(connection, output, self.proc, limits)

    def enter_tester(self, memory_bytes: int) -> None:
        """See the function."""
        os.close(self.proc)
        enter_tester(memory_bytes)

    def overdrawn(self, program: int, file_bytes: int) -> bool:
        """Never: its scratch folder is a file system of that size."""
        return False

    def ended(self, program: int) -> None:
        """Its namespaces are gone with it, and so is all that it left."""

    def close(self) -> None:
        """Everything ends with the server, which is process 1."""


def enter_program(
    connection: socket.socket, output: int, proc: int, limits: Mapping[str, Any]
) -> None:
    """Shut the calling process (process 1 of its namespace) in for good, as one program.

    Afterwards open files are 0 (/dev/null), 1 and 2 (`output`) and `connection`; `proc`, a handle
    of a /proc of an outer namespace, served to map the ids.
    """
    os.setsid()
    unshare(NEWNS | NEWIPC, "the program's mount and IPC namespaces")
    size = f"size={limits['file_bytes']},nr_inodes=4096,mode=700"
    if os.path.exists("/proc/self") and not mount_proc("/proc"):
        raise OSError("no /proc of the program's own")
    second_id = len(_read_at(proc, "self/uid_map").splitlines()) > 1
    owner = NOBODY if second_id else 0
    mount("scratch", "/tmp", "tmpfs", _NOSUID | _NODEV, f"{size},uid={owner},gid={owner}")
    if second_id:
        become(NOBODY)
    unshare(NEWUSER, "the program's user namespace")
    prctl(_PR_SET_DUMPABLE, 1)
    for name, text in (("setgroups", "deny"), ("uid_map", ""), ("gid_map", "")):
        _write_at(proc, f"self/{name}", text or f"{NOBODY} {owner} 1\n")
    _write_at(proc, "sys/user/max_user_namespaces", "0")
    drop_capabilities()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, connection.fileno())
    os.closerange(connection.fileno() + 1, 4096)
    set_limits(limits)
    os.chdir("/tmp")
    os.umask(0o077)
    prctl(_PR_SET_PDEATHSIG, 9)


def enter_tester(memory_bytes: int) -> None:
    """Take from the calling process, a tester, what it does not need to run tests."""
    if len(_read_at(_AT_FDCWD, "/proc/self/uid_map").splitlines()) > 1:
        become(NOBODY)
    drop_capabilities()
    set_tester_limits(memory_bytes)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _read_at(directory: int, path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY, dir_fd=None if directory < 0 else directory)
    with open(descriptor) as file:
        return file.read()


def _write_at(directory: int, path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY, dir_fd=directory)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
