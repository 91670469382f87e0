"""Which runs still have a living process: a lock a process, held until the kernel takes it back.

Knows tokens and lock files; the runs that bear a token as a tag are Dagster's.
"""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack
from pathlib import Path

from warehouse.errors import WarehouseError
from warehouse.files.locks import alone_or_refused

TAG = "heirloom/process"  # a run's tag: the token of the process that works on it
_held: dict[Path, tuple[int, str, ExitStack]] = {}


def claim(folder: Path) -> str:
    """This process's token; its lock below `folder` is held until the process ends."""
    known = _held.get(folder)
    if known is None or known[0] != os.getpid():
        token, stack = uuid.uuid4().hex[:12], ExitStack()
        stack.enter_context(alone_or_refused(folder / token, f"{folder / token} is taken"))
        known = _held[folder] = (os.getpid(), token, stack)
    return known[1]


def alive(folder: Path, token: str) -> bool:
    """Whether the process with this token still runs on this machine."""
    path = folder / token
    if not path.exists():
        return False
    try:
        with alone_or_refused(path, "held"):
            path.unlink(missing_ok=True)
    except WarehouseError:
        return True
    return False
