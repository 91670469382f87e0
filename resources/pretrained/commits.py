"""Which commit each revision was found to be: asked once, kept in the home.

Knows sources and one file of JSON; the hub itself is asked in `hub.py`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from resources.pretrained import hub
from resources.pretrained.source import ParentSource, is_commit
from warehouse.errors import WarehouseError
from warehouse.files.filesystem import replacing

log = logging.getLogger("heirloom.hub")


class Commits:
    """Which commit each hub id's revision was found to be, kept in a file of the home.

    Asked once: later plans need no network, and a branch that moves makes nothing stale by itself.
    Without a file (None) it is asked once a process.
    """

    def __init__(self, memory: Path | None) -> None:
        self.memory = memory
        self.known = self._read()

    def settled(self, source: ParentSource) -> ParentSource:
        """The source with its commit. Raises CheckpointError where the hub does not tell it."""
        if is_commit(source.revision):
            return source.at(str(source.revision))
        name = str(source)
        if name not in self.known:
            self.known[name] = hub.resolve(source)
            if source.revision:
                log.info("%s is commit %s, and stays so in this home", name, self.known[name])
            else:
                log.warning(
                    "%s: no revision is written; it is commit %s now, and stays so in this home: "
                    "write %s@%s to have the same elsewhere",
                    *(name, self.known[name], name, self.known[name]),
                )
            self._write(name)
        return source.at(self.known[name])

    def _read(self) -> dict[str, str]:
        if self.memory is None or not self.memory.is_file():
            return {}
        try:
            found = json.loads(self.memory.read_text())
            return {str(name): str(commit) for name, commit in found.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise WarehouseError(
                f"{self.memory}: cannot be read ({error}); it says which commits the hub's "
                "revisions are: restore it, or delete it to ask the hub again"
            ) from error

    def _write(self, name: str) -> None:
        if self.memory is None or not self.memory.parent.is_dir():
            return  # a plan makes no home
        self.known = {**self._read(), name: self.known[name]}
        with replacing(self.memory) as aside:
            aside.write_text(json.dumps(self.known, indent=1, sort_keys=True) + "\n")
