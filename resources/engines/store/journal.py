"""Journals: what a process was answered and no shard holds yet, a line a completion.

Each is written by one process at a time, which locks it; lines that were cut off are passed over.
Knows lines and files.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from resources.engines.store.rows import Row, line, read_line
from warehouse.errors import explained

SUFFIX = ".jsonl"


class Journal:
    """A journal that somebody writes, as it is read: `rows` in the order they were written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._read = 0

    def refresh(self) -> list[Row]:
        """Take up whole lines that were added; returns their rows."""
        with open(self.path, "rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        found = [row for each in whole.split(b"\n") if (row := read_line(each)) is not None]
        self.rows += found
        return found

    def wrote(self, rows: list[Row]) -> None:
        """Take up rows that this process wrote to its end, after all that is there was read."""
        self._read = self.path.stat().st_size
        self.rows += rows


class Writer:
    """The journal that this process writes. Raises BlockingIOError where another one does."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, -1
        with explained(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise

    def append(self, rows: list[Row]) -> None:
        """Hand rows to the operating system: a kill of this process loses none of them.

        A line that a full disk cut off earlier is ended first, so that it spoils no other.
        """
        data = b"".join(map(line, rows))
        with explained(f"write {self.path}"):
            if self._torn():
                data = b"\n" + data
            while data:
                data = data[os.write(self._file, data) :]

    def sync(self) -> None:
        """Wait until what was appended survives a power loss."""
        with explained(f"write {self.path}"):
            os.fsync(self._file)

    def close(self) -> None:
        """Let another process go on with the journal."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def remove(self) -> None:
        """Remove it: a shard holds its rows."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _torn(self) -> bool:
        size = os.fstat(self._file).st_size
        return size > 0 and os.pread(self._file, 1, size - 1) != b"\n"

    def __del__(self) -> None:
        self.close()


def fresh(folder: Path) -> Path:
    """A name for a new journal."""
    return folder / f"{os.getpid()}-{uuid.uuid4().hex}{SUFFIX}"
