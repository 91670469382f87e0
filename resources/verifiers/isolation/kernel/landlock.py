"""Landlock: files that may be read, and one folder that may be written, for the calling process.

Knows the system calls and what each version of the interface can restrict (linux/landlock.h).
What it leaves open in every version (looking at a file's size and times, changing mode or owner),
and in older ones (truncation before 3, devices before 5, signals before 6), `syscalls.py` closes.
"""

import ctypes
import os
from collections.abc import Iterable, Sequence

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # on every machine
_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE, _MAKE_DIR, _MAKE_FILE, _MAKE_LINK = 0b11 << 4, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # from this version on, so many rights
_NET_VERSION, _SCOPE_VERSION = 4, 6

READ = _READ_FILE | _READ_DIR
SCRATCH = READ | _WRITE_FILE | _REMOVE | _MAKE_DIR | _MAKE_FILE | _MAKE_LINK | _REFER | _TRUNCATE
DEVICE = _READ_FILE | _WRITE_FILE

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The kernel's version of Landlock. Raises OSError where it has none or it is switched off."""
    return _call("Landlock", CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)


class Ruleset:
    """What will be allowed; everything else that this kernel's Landlock knows will be forbidden."""

    def __init__(self) -> None:
        known = version()
        self.rights = (1 << max(n for since, n in _FILE_RIGHTS.items() if since <= known)) - 1
        fields = [self.rights]
        if known >= _NET_VERSION:
            fields.append(0b11)  # binding and connecting of TCP sockets
        if known >= _SCOPE_VERSION:
            fields.append(0b11)  # abstract UNIX sockets and signals, of processes outside
        attributes = (ctypes.c_uint64 * len(fields))(*fields)
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        self.descriptor = _call("Landlock ruleset", CREATE_RULESET, attributes, size, 0)

    def allow(self, rights: int, paths: Iterable[str]) -> None:
        """Allow `rights` on these files and on everything beneath these folders."""
        for path in paths:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                given = rights & self.rights
                if not os.path.isdir(path):
                    given &= DEVICE | _TRUNCATE
                rule = given.to_bytes(8, "little") + descriptor.to_bytes(4, "little")
                _call(f"Landlock rule for {path}", ADD_RULE, self.descriptor, _PATH_BENEATH, rule)
            finally:
                os.close(descriptor)

    def apply(self) -> None:
        """Restrict the calling process and all that it starts, for good (needs no_new_privs)."""
        _call("Landlock", RESTRICT_SELF, self.descriptor)
        os.close(self.descriptor)


def _call(what: str, number: int, *arguments: object) -> int:
    given: Sequence[object] = (*arguments, *(0,) * (4 - len(arguments)))
    result = int(_libc.syscall(number, *given))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
