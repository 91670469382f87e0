"""The probe: run as an untrusted program, it tries to get out, and says what it could do.

Run at every start of the sandbox, in each tier; a single escape and nothing is run there. It needs
the standard library alone, and what it attacks exists outside (`sandbox.probe` makes it).
"""

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_ENOSYS = 38
_X32 = 0x40000000
# Calls that the machines share a number of, and those by machine (x86-64, aarch64).
_SAME = {"io_uring_setup": 425, "open_tree": 428, "fsopen": 430, "pidfd_open": 434}
_SAME |= {"clone3": 435, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442}
_OWN = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "unshare": (272, 97), "setns": (308, 268),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "memfd_create": (319, 279), "shmget": (29, 194),
    "mq_open": (240, 180), "truncate": (76, 45), "setxattr": (188, 5), "kexec_load": (246, 104),
    "init_module": (175, 105), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    "execve": (59, 221), "seccomp": (317, 277), "personality": (135, 92), "kcmp": (312, 272),
    "rt_sigqueueinfo": (129, 138), "tkill": (200, 130), "sched_setaffinity": (203, 122),
    "prlimit64": (302, 261), "setpriority": (141, 140), "socket": (41, 198), "connect": (42, 203),
    "sendmsg": (46, 211), "inotify_init1": (294, 26), "setsid": (112, 157), "setpgid": (109, 154),
    "pidfd_send_signal": (424, 424),
}  # fmt: skip


def escapes(places: dict[str, Any]) -> dict[str, list[Any]]:
    """What is possible that should not be, by attack; an empty list where it is contained.

    `places` exist outside: `pid` of a process, `port` of a listening socket, `folder` with a file
    "canary" and a listening "socket" (its name is an abstract address as well), `repository`.
    `processes` is the limit that should hold; `filtered` says that system calls are.
    """
    host, folder, repository = places["pid"], places["folder"], places["repository"]
    memory = resource.getrlimit(resource.RLIMIT_AS)[0]
    canary = f"{folder}/canary"
    found: dict[str, list[Any]] = {
        "network": _interfaces() + _all(_connect, _addresses(places)),
        "other processes": _processes(),
        "signals": _all(_signal, [(name, host) for name in _SIGNALS]) if host != 1 else [],
        "tracing": _all(_trace, [(name, host) for name in _TRACES]) if host != 1 else [],
        "other processes' limits": _limits(host) if host != 1 else [],
        "host files": _all(_touch, [(name, canary) for name in _TOUCHES])
        + _all(os.listdir, [(place,) for place in (folder, repository)]),
        "names of host files": _all(os.stat, [(place,) for place in (canary, repository)]),
        "writable": _all(_write, [(path,) for path in _outside(places)]),
        "environment": list(os.environ),
        "open files": [number for number in range(3, 256) if _works(os.fstat, number)][1:],
        "root": [user for user in {os.getuid(), os.geteuid(), os.getgid()} if user == 0],
        "capabilities": _all(os.chroot, [("/",)]) + _all(os.setuid, [(0,)]),
        "namespaces": _all(_call_namespace, [(flag,) for flag in (0x10000000, 0x20000)]),
        "mounts": _all(_mount, [(name,) for name in ("mount", "fsopen", "open_tree")]),
        "processes": [count for count in [_forks(places["processes"] + 1)] if count >= 8],
        "threads": [count for count in [_threads(256)] if count >= 256],
        "memory": [memory] * (memory < 0 or _works(bytearray, memory)),
        "calls past the filter": _unfiltered() if places["filtered"] else [],
    }
    _write("own")  # its own scratch must work
    return found


def _all(attack: Callable[..., object], targets: list[Any]) -> list[Any]:
    return [list(target) for target in targets if _works(attack, *target)]


def _works(function: Callable[..., object], *arguments: object) -> bool:
    try:
        function(*arguments)
    except (OSError, MemoryError, ValueError):
        return False
    return True


def _number(name: str) -> int:
    return _SAME.get(name) or _OWN[name][os.uname().machine == "aarch64"]


def _call(name: str, *arguments: object, offset: int = 0) -> int:
    """A raw system call; raises OSError where it fails."""
    result = int(_libc.syscall(_number(name) + offset, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _interfaces() -> list[Any]:
    try:
        return [name for _, name in socket.if_nameindex() if name != "lo"]
    except OSError:
        return []


def _addresses(places: dict[str, Any]) -> list[Any]:
    inet, unix = socket.AF_INET, socket.AF_UNIX
    local = [f"{places['folder']}/socket", f"\0{places['folder']}"]
    hosts = [("127.0.0.1", places["port"]), ("1.1.1.1", 53)]
    return [(inet, address) for address in hosts] + [(unix, address) for address in local]


def _connect(family: int, address: Any) -> None:
    with socket.socket(family) as connection:
        connection.settimeout(1)
        connection.connect(address)


def _processes() -> list[int]:
    try:
        return [int(n) for n in os.listdir("/proc") if n.isdigit() and int(n) != os.getpid()]
    except OSError:
        return []


def _owner(pid: int) -> None:
    """Have the kernel send another process a signal for us."""
    read, write = os.pipe()
    try:
        fcntl.fcntl(read, fcntl.F_SETOWN, pid)
    finally:
        os.close(read)
        os.close(write)


_SIGNALS: dict[str, Callable[[int], object]] = {
    "kill": lambda pid: os.kill(pid, 0),
    "kill all": lambda pid: os.kill(-1, 0),
    "kill group": lambda pid: os.kill(-pid, 0),
    "tkill": lambda pid: _call("tkill", pid, 0),
    "rt_sigqueueinfo": lambda pid: _call("rt_sigqueueinfo", pid, 0, bytes(128)),
    "pidfd": lambda pid: _call("pidfd_send_signal", _call("pidfd_open", pid, 0), 0, None, 0),
    "owner of a pipe": _owner,
}
_TRACES: dict[str, Callable[[int], object]] = {
    "seize": lambda pid: _call("ptrace", 0x4206, pid, None, None),
    "read memory": lambda pid: _read_memory(pid),
    "memory file": lambda pid: _open(f"/proc/{pid}/mem"),
    "environment": lambda pid: _open(f"/proc/{pid}/environ"),
    "working folder": lambda pid: os.readlink(f"/proc/{pid}/cwd"),
    "descriptors": lambda pid: _call("pidfd_getfd", _call("pidfd_open", pid, 0), 0, 0),
}
_TOUCHES: dict[str, Callable[[str], object]] = {
    "read": lambda path: _open(path),
    "append": lambda path: _write(path),
    "open for neither": lambda path: os.close(os.open(path, 3)),
    "empty while reading": lambda path: os.close(os.open(path, os.O_TRUNC)),
    "truncate": lambda path: os.truncate(path, 0),
    "mode": lambda path: os.chmod(path, 0),
    "owner": lambda path: os.chown(path, os.getuid(), os.getgid()),
    "times": lambda path: os.utime(path, (1, 1)),
    "attribute": lambda path: os.setxattr(path, "user.x", b"x"),
    "link": lambda path: os.link(path, "linked"),
    "through a link": lambda path: _open(_named(path)),
    "rename": lambda path: os.rename(path, path + ".moved"),
    "move here": lambda path: os.rename(path, "moved"),
    "remove": os.unlink,
    "create": lambda path: _write(path + ".made"),
    "create a folder": lambda path: os.mkdir(path + ".folder"),
    "lock": lambda path: _lock(path),
}


def _named(path: str) -> str:
    os.symlink(path, "named")
    return "named"


def _signal(name: str, pid: int) -> None:
    _SIGNALS[name](pid)


def _trace(name: str, pid: int) -> None:
    _TRACES[name](pid)


def _touch(name: str, path: str) -> None:
    _TOUCHES[name](path)


def _read_memory(pid: int) -> None:
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
    _call("process_vm_readv", pid, vector, 1, vector, 1, 0)


def _open(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _lock(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _limits(pid: int) -> list[Any]:
    limit, mask = (ctypes.c_uint64 * 2)(), (ctypes.c_uint64 * 1)(1)
    attacks = {
        "prlimit64": lambda: _call("prlimit64", pid, 7, None, limit),
        "sched_setaffinity": lambda: _call("sched_setaffinity", pid, 8, mask),
        "setpriority": lambda: _call("setpriority", 0, pid, 19),
    }
    return [name for name, attack in attacks.items() if _works(attack)]


def _outside(places: dict[str, Any]) -> list[str]:
    folders = ["/", "/usr", "/etc", "/var/tmp", os.path.dirname(os.__file__)]
    files = [f"{folder}/heirloom-escape" for folder in [*folders, places["repository"]]]
    return [*files, "/proc/sys/kernel/hostname", f"/proc/{places['pid']}/oom_score_adj"]


def _write(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")


def _call_namespace(flag: int) -> None:
    _call("unshare", flag)


def _mount(name: str) -> None:
    arguments = {
        "mount": (b"none", b"/", None, 1 << 18, None),
        "fsopen": (b"tmpfs", 0),
        "open_tree": (-100, b"/", 1),
    }
    _call(name, *arguments[name])


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


def _threads(count: int) -> int:
    """How many threads could be started, `count` at most, with the smallest stacks."""
    release, threads = threading.Event(), []
    threading.stack_size(1 << 15)
    try:
        for _ in range(count):
            thread = threading.Thread(target=release.wait)
            thread.start()
            threads.append(thread)
    except (RuntimeError, MemoryError):
        return len(threads)
    finally:
        release.set()
        for thread in threads:
            thread.join()
        threading.stack_size(0)
    return len(threads)


def _unfiltered() -> list[str]:
    """System calls that exist though the filter should not know them."""
    allowed = {"prlimit64"}
    names = [name for name in (*_SAME, *_OWN) if name not in allowed]
    found = [name for name in names if _exists(name, 0)]
    pairs = [(socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_STREAM)]
    return found + [f"socketpair {pair}" for pair in pairs if _works(socket.socketpair, *pair)]


def doors() -> list[str]:
    """Other ways into the kernel than its own calls that are open. A program that tries them on a
    machine which forbids them may be killed for it, so this is a program of its own."""
    if os.uname().machine != "x86_64":
        return []
    found = [f"x32 {name}" for name in ("ptrace", "socket") if _exists(name, _X32)]
    return found + (["i386 getpid"] if _i386(20) != -_ENOSYS else [])


def _exists(name: str, offset: int) -> bool:
    try:
        _call(name, -1, -1, -1, -1, -1, -1, offset=offset)
    except OSError as error:
        return error.errno != _ENOSYS
    return True


def _i386(number: int) -> int:
    """A call through `int 0x80`, the 32-bit kernel's door, as machine code."""
    code = b"\xb8" + number.to_bytes(4, sys.byteorder) + b"\xcd\x80\xc3"  # mov eax; int 0x80; ret
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
