"""Content hashes of files outside the graph, as they enter keys: whole files and ranges of them.

Remembers by size and time what was hashed; knows specs, not what the files hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resources.models.errors import CheckpointError
from resources.pretrained.commits import Commits
from resources.pretrained.files import adopted
from resources.pretrained.source import ParentSource
from resources.store.spec import Spec
from warehouse.errors import WarehouseError
from warehouse.files.filesystem import replacing
from warehouse.files.verify import local_digest

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
    """Content hashes of files outside the graph, kept between processes by size and time.

    Beside `memory`, in `hub.json`, stands which commits the hub's revisions were found to be.
    """

    def __init__(self, memory: Path | None = None, commits: Commits | None = None) -> None:
        self.memory = memory
        self.commits = commits or Commits(memory and memory.with_name("hub.json"))
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
        found = self._sources(spec)
        ranges = [(path, 0, None) for path in spec.observe]
        for path, start, stop in [*ranges, *spec.observe_of.get(partition or "", ())]:
            name = Path(path).name
            while name in found:
                name += "'"
            found[name] = self._range(Path(path), start, stop)
        return found

    def source(self, spec: Spec) -> ParentSource | str | None:
        """The spec's source as its build function gets it, with the commit of a hub's.

        Raises CheckpointError where the hub does not tell the commit.
        """
        if isinstance(spec.source, ParentSource) and spec.source.kind == "hub":
            return self.commits.settled(spec.source)
        return spec.source

    def _sources(self, spec: Spec) -> dict[str, str]:
        source = spec.source
        if source is None:
            return {}
        if not isinstance(source, ParentSource):
            return {"source": self.digest(_there(spec, source))}
        if source.kind == "hub":
            found = {"source": f"hub:{source.location}@{self._commit(source)}"}
        else:
            found = {"source": self._given(_there(spec, source.location))}
        if source.tokenizer is not None:
            found["tokenizer"] = self._given(_there(spec, source.tokenizer))
        if source.template is not None:
            found["template"] = self.digest(_there(spec, source.template))
        if source.thinking is not None:
            found["thinking"] = json.dumps(source.thinking, sort_keys=True)
        if source.date is not None:
            found["date"] = source.date
        return found

    def _commit(self, source: ParentSource) -> str | None:
        """A hub's; its revision as written where the hub does not tell, which a build will say."""
        try:
            return self.commits.settled(source).commit
        except CheckpointError:
            return source.revision

    def _given(self, path: Path) -> str:
        """The hash of a file, or of the files of a folder that would be adopted."""
        try:
            return self.digest(path, None if path.is_file() else adopted(path))
        except CheckpointError:
            return self.digest(path)  # adopting it will say what is wrong

    def digest(self, path: Path, among: Sequence[Path] | None = None) -> str:
        """SHA-256 of a file, or of a folder's names and contents; hidden files do not count.

        `among` are the folder's files that count, else all. A missing folder counts as an empty
        one, so that making it changes nothing.
        """
        if path.is_file():
            return self._file(path)
        total = hashlib.sha256()
        counted = (item for item in path.rglob("*") if item.is_file()) if among is None else among
        for file in sorted(counted):
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


def _there(spec: Spec, location: str) -> Path:
    path = Path(location)
    if not path.exists():
        raise WarehouseError(f"{spec.key}: its source {path} is gone; put it back or name another")
    return path
