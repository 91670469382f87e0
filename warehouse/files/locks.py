"""File locks between processes of one machine that free themselves when their holder dies.

Knows nothing of what is being guarded.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from warehouse.errors import WarehouseError, explained


@contextmanager
def held(path: Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock at `path` alone; `waiting` is told once when another process holds it."""
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                waiting(f"process {holder}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock at `path` together with others who share it."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone_or_refused(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock alone, or raise `WarehouseError(refusal)` at once when anyone has it."""
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WarehouseError(refusal) from error
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    with explained(f"open the lock {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
