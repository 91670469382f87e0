"""A seccomp filter from the table of allowed system calls, assembled by hand and set for good.

Knows classic BPF (linux/filter.h, linux/seccomp.h) and nothing of what is allowed. Calls through
another door of the kernel (i386, x32) do not exist for a filtered process either.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Mapping, Sequence

from resources.verifiers.isolation.kernel.syscalls import WHOLE, Test

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06  # LD|W|ABS, ALU|AND|K, JMP|JEQ|K, RET|K
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_PR_SET_SECCOMP, _MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def assemble(
    machine: str, numbers: Mapping[str, int], tests: Mapping[str, Sequence[Test]], own_pid: int
) -> list[Instruction]:
    """The filter: a block a call that returns, and ENOSYS for whatever matches none.

    Raises KeyError for a machine whose calls are not known.
    """
    refuse = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    made: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        refuse,
        (_LOAD, 0, 0, _NUMBER),
    ]
    for name, number in numbers.items():
        body = [line for test in tests.get(name, ()) for line in _block(test, own_pid)]
        body.append((_RETURN, 0, 0, _ALLOW))
        made += [(_EQUAL, 0, len(body), number), *body]
    return [*made, refuse]


def _block(test: Test, own_pid: int) -> list[Instruction]:
    """Go on behind the block where the argument is one of the values; else return the error."""
    values = [*test.values, *([own_pid] if test.own_pid else [])]
    place = _ARGUMENTS + 8 * test.argument + 4 * test.high
    mask = [] if test.mask == WHOLE else [(_AND, 0, 0, test.mask)]
    found = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [(_LOAD, 0, 0, place), *mask, *found, (_RETURN, 0, 0, _ERRNO | test.error)]


def apply(program: Sequence[Instruction]) -> None:
    """Filter the calling thread and all that it starts, for good. Raises OSError if refused."""
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    given = Program(len(program), ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(given), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp filter: {os.strerror(number)}")
