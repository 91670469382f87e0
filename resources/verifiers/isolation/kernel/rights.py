"""What both tiers take from a process: its user, its capabilities, its resources."""

import ctypes
import os
import resource
from collections.abc import Mapping
from typing import Any

NOBODY = 65534
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITY_V3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise the C library's last error unless `result` is 0."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    """prctl(2)."""
    check(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


def one_thread() -> None:
    """Have numerical libraries use one thread: they read C's environment, Python's stays empty."""
    for name in (b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS", b"MKL_NUM_THREADS"):
        check(_libc.setenv(name, b"1", 1), "setenv")


def become(user: int) -> None:
    """Be this user and group alone."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def set_capabilities(effective: int) -> None:
    """Keep these capabilities of the first 32, and no other."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_V3, 0)
    check(_libc.capset(header, (ctypes.c_uint32 * 6)(effective, effective)), "capset")


def drop_capabilities() -> None:
    """Give up every capability, now and for whatever is executed later."""
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    set_capabilities(0)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_limits(limits: Mapping[str, Any]) -> None:
    """Set the resource limits of the calling process, a program's."""
    _set(
        AS=limits["memory_bytes"],
        CPU=limits["cpu_seconds"],
        NPROC=limits["processes"],
        FSIZE=limits["file_bytes"],
        NOFILE=limits["open_files"],
        CORE=0,
        MEMLOCK=0,
        MSGQUEUE=0,
    )


def set_tester_limits(memory_bytes: int) -> None:
    """Set those of a tester, which starts and writes nothing."""
    _set(AS=memory_bytes, NPROC=0, CORE=0, FSIZE=0)


def _set(**limits: int) -> None:
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (least, least))
