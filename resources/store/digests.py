"""Content hashes of files outside the graph, as they enter keys: whole files and ranges of them.

Remembers by size and time what was hashed; knows specs, not what the files hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resources.store.spec import Spec
from warehouse.errors import WarehouseError
from warehouse.filesystem import replacing
from warehouse.verify import local_digest

BLOCK = 1 << 20


def lines_digest(path: Path, start: int, stop: int | None) -> str:
    """SHA-256 of the lines that begin in the bytes [start, stop), and of what precedes the first.

    The line that a range begins inside of counts to both ranges: a change of it remakes both.
    """
    total = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        left = None if stop is None else stop - 1 - start
        while block := file.read(BLOCK if left is None else min(BLOCK, left)):
            total.update(block)
            left = None if left is None else left - len(block)
        if left is not None:
            total.update(file.readline())
    return total.hexdigest()


class Digests:
    """Content hashes of files outside the graph, kept between processes by size and time."""

    def __init__(self, memory: Path | None = None) -> None:
        self.memory = memory
        self.known: dict[str, list[Any]] = {}
        self.changed = False
        if memory is not None and memory.is_file():
            try:
                self.known = json.loads(memory.read_text())
            except ValueError:
                self.known = {}  # only a cache: everything is hashed again

    def observed(self, spec: Spec, partition: str | None = None) -> dict[str, str]:
        """Name -> content hash of what the spec, or one partition, reads outside the graph.

        Names hold no folders.
        """
        found: dict[str, str] = {}
        if spec.source is not None:
            found["source"] = self._source(spec)
        ranges = [(path, 0, None) for path in spec.observe]
        for path, start, stop in [*ranges, *spec.observe_of.get(partition or "", ())]:
            name = Path(path).name
            while name in found:
                name += "'"
            found[name] = self._range(Path(path), start, stop)
        return found

    def _source(self, spec: Spec) -> str:
        path = Path(str(spec.source))
        if path.exists():
            return self.digest(path)
        if path.is_absolute() or str(spec.source).startswith("."):
            raise WarehouseError(
                f"{spec.key}: its source {path} is gone; put it back or name another"
            )
        return f"hub:{spec.source}"  # a hub id: its revision is part of the recipe

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, or of a folder's names and contents; hidden files do not count.

        A missing folder counts as an empty one, so that making it changes nothing.
        """
        if path.is_file():
            return self._file(path)
        total = hashlib.sha256()
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            relative = file.relative_to(path)
            if not any(part.startswith(".") for part in relative.parts):
                total.update(f"{relative.as_posix()}\n{self._file(file)}\n".encode())
        return total.hexdigest()

    def _range(self, path: Path, start: int, stop: int | None) -> str:
        """SHA-256 of the lines that begin in the bytes [start, stop) of a file."""
        if start == 0 and stop is None:
            return self.digest(path)
        return self._remembered(
            f"{path}#{start}-{stop}", path, lambda: lines_digest(path, start, stop)
        )

    def _file(self, path: Path) -> str:
        return self._remembered(str(path), path, lambda: local_digest(path))

    def _remembered(self, name: str, path: Path, measure: Callable[[], str]) -> str:
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns]
        entry = self.known.get(name)
        if entry is None or entry[:2] != state:
            entry = [*state, measure()]
            self.known[name] = entry
            self.changed = True
        return str(entry[2])

    def save(self) -> None:
        """Keep what was hashed for the next process; a home that is not there stays so."""
        if self.changed and self.memory is not None and self.memory.parent.is_dir():
            with replacing(self.memory) as aside:
                aside.write_text(json.dumps(self.known))
