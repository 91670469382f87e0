"""Temporary folders that bear their owner's process id, so that those of killed owners go.

A folder is removed when its block ends; a kill leaves it, and the next one made takes it away.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """An empty folder `<name>-<process id>-…` in the system's temporary directory."""
    sweep(name)
    with tempfile.TemporaryDirectory(prefix=f"{name}-{os.getpid()}-") as place:
        yield Path(place)


def sweep(name: str) -> list[Path]:
    """Remove this user's folders of that name whose owner lives no more; those removed."""
    gone = []
    for folder in Path(tempfile.gettempdir()).glob(f"{name}-*-*"):
        owner = folder.name.removeprefix(f"{name}-").partition("-")[0]
        if not owner.isdecimal() or psutil.pid_exists(int(owner)):
            continue
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
        except FileNotFoundError:  # another process sweeps too
            continue
        shutil.rmtree(folder, ignore_errors=True)
        gone.append(folder)
    return gone
