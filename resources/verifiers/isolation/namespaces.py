"""Linux isolation through the C library: namespaces, mounts, capabilities, limits.

Two levels. The server's namespaces hold a read-only view of the system directories that Python
needs, no network and no process of the host. Each program gets its own user, process, mount and IPC
namespaces inside, an own /proc and /tmp, no capability, and limits. Needs Linux >= 5.12 and the
right to make user namespaces; every function raises OSError with the failing call.
"""

import ctypes
import os
import resource
import socket
import sys
from typing import Any

NEWNS, NEWUTS, NEWIPC = 0x00020000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8
_BIND, _REC, _PRIVATE, _DETACH = 4096, 16384, 1 << 18, 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG = 4, 24, 38, 1
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}
_SYS_MOUNT_SETATTR = 442
_CAPABILITY_V3 = 0x20080522
_NOBODY = 65534
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
_FILES = ("/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int, what: str) -> None:
    """Leave the given namespaces for new ones."""
    _check(_libc.unshare(flags), f"unshare {what}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    encoded_kind = kind.encode() if kind else None
    result = _libc.mount(
        source.encode(), target.encode(), encoded_kind, ctypes.c_ulong(flags), data.encode()
    )
    _check(result, f"mount {source} on {target}")


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
                _write(f"/proc/{pid}/{name}_map", f"0 0 1\n{_NOBODY} {_NOBODY} 1\n")
            return
        except OSError:  # root of a container that owns a single id: that one alone
            if _read_at(_AT_FDCWD, f"/proc/{pid}/uid_map").strip():
                raise
    _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", f"0 {uid} 1\n")
    _write(f"/proc/{pid}/gid_map", f"0 {gid} 1\n")


def build_root() -> None:
    """Replace the file system by a read-only view of the system directories, as process 1."""
    mount("none", "/", None, _REC | _PRIVATE)
    root = "/tmp"
    mount("sandbox", root, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path in ("/proc", "/dev", "/etc", "/tmp", "/old"):
        os.mkdir(root + path)
    os.chmod(root + "/tmp", 0o555)
    for path in dict.fromkeys((*_SYSTEM, os.path.realpath(sys.base_prefix))):
        _show(path, root)
    for path in _FILES:
        if os.path.exists(path):
            with open(root + path, "w"):
                pass
            mount(path, root + path, None, _BIND)
    os.symlink("/tmp", root + "/dev/shm")
    os.symlink("/proc/self/fd", root + "/dev/fd")
    mount_proc(root + "/proc")
    os.chdir(root)
    _check(_libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b"old"), "pivot_root")
    os.chdir("/")
    _check(_libc.umount2(b"/old", _DETACH), "umount of the old root")
    os.rmdir("/old")
    attributes = (ctypes.c_uint64 * 4)(_RDONLY | _NOSUID, 0, 0, 0)
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, ctypes.sizeof(attributes)
    )
    _check(result, "making the root read-only (needs Linux 5.12)")
    socket.sethostname("sandbox")


def _show(path: str, root: str) -> None:
    """Make a directory visible at the same path in the new root; a link stays a link."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), root + path)
    elif os.path.isdir(path) and not os.path.exists(root + path):
        os.makedirs(root + path, mode=0o755)
        mount(path, root + path, None, _BIND | _REC)


def mount_proc(target: str) -> bool:
    """Mount a /proc of this process namespace; False where the host hides parts of its own /proc
    (then there is none at all, and nothing of the host shows either)."""
    try:
        mount("proc", target, "proc", _NOSUID | _NODEV | _NOEXEC)
    except PermissionError:
        return False
    return True


def enter_program(
    connection: socket.socket, output: int, proc: int, limits: dict[str, Any]
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
    owner = _NOBODY if second_id else 0
    mount("scratch", "/tmp", "tmpfs", _NOSUID | _NODEV, f"{size},uid={owner},gid={owner}")
    if second_id:
        _become_nobody()
    unshare(NEWUSER, "the program's user namespace")
    _prctl(_PR_SET_DUMPABLE, 1)
    for name, text in (("setgroups", "deny"), ("uid_map", ""), ("gid_map", "")):
        _write_at(proc, f"self/{name}", text or f"{_NOBODY} {owner} 1\n")
    _write_at(proc, "sys/user/max_user_namespaces", "0")
    drop_capabilities()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, connection.fileno())
    os.closerange(connection.fileno() + 1, 4096)
    set_limits(limits)
    os.chdir("/tmp")
    os.umask(0o077)
    _prctl(_PR_SET_PDEATHSIG, 9)


def enter_tester(memory_bytes: int) -> None:
    """Take from the calling process, a tester, what it does not need to run tests."""
    if len(_read_at(_AT_FDCWD, "/proc/self/uid_map").splitlines()) > 1:
        _become_nobody()
    drop_capabilities()
    for name, value in (("AS", memory_bytes), ("NPROC", 0), ("CORE", 0), ("FSIZE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def drop_capabilities() -> None:
    """Give up every capability, now and for whatever is executed later."""
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_V3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_limits(limits: dict[str, Any]) -> None:
    """Set the resource limits of the calling process."""
    for name, value in (
        ("AS", limits["memory_bytes"]),
        ("CPU", limits["cpu_seconds"]),
        ("NPROC", limits["processes"]),
        ("FSIZE", limits["file_bytes"]),
        ("NOFILE", limits["open_files"]),
        ("CORE", 0),
        ("MEMLOCK", 0),
        ("MSGQUEUE", 0),
    ):
        number = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(number, (value, value))


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


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
