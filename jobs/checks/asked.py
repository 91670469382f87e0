"""What a check is asked about, and what it answers: a fault, or a line that only shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resources.models.errors import CheckpointError
from resources.pretrained.assembling import Assembled, assemble
from resources.pretrained.source import ParentSource
from resources.recipe.errors import dotted
from resources.recipe.reading.faults import Fault
from resources.recipe.schema import Recipe
from resources.recipe.tree import KeyPath


@dataclass(frozen=True)
class Asked:
    """A recipe that its schema accepts.

    `offline` forbids the network; `scratch` is a folder that is removed afterwards; `commits` is
    what the hub's revisions were found to be when this home first read them. What several checks
    look at is gathered once, in `gathered`.
    """

    recipe: Recipe
    offline: bool
    scratch: Path
    commits: Mapping[str, str] = field(default_factory=dict)
    gathered: dict[str, Assembled | CheckpointError] = field(default_factory=dict)

    def fault(self, keys: KeyPath, what: str, remedy: str = "", *, stops: bool = True) -> Fault:
        """A fault of what stands at a key path, with the file and line where it was written."""
        origin = self.recipe.tree.nearest(keys).origin
        return Fault("", f"{origin}: {dotted(keys)}", what, remedy, stops)

    def description(self, source: ParentSource) -> Assembled:
        """The small files of a given model, in a folder of links. Raises CheckpointError for what
        is missing of them."""
        key = json.dumps(source.record(), sort_keys=True)
        if key not in self.gathered:
            try:
                folder = self.scratch / f"model-{len(self.gathered)}"
                self.gathered[key] = assemble(source, folder, "description")
            except CheckpointError as error:
                self.gathered[key] = error
        found = self.gathered[key]
        if isinstance(found, CheckpointError):
            raise found
        return found


Finding = Fault | str
Check = Callable[[Asked], Iterator[Finding]]
