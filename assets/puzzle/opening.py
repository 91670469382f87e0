"""The parent and its block library, opened from the inputs of an asset.

Knows artifacts and the recipe's dtype; the library itself is in `halves.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.puzzle.halves import Library
from resources.models.loading import load
from resources.models.precision import Precision
from warehouse.artifact import parts
from warehouse.store import Artifact


def open_library(inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], device: str) -> Library:
    """The library `block_library` (all its partitions) over the parent, in the recipe's dtype."""
    folder = inputs["parent"].path()
    parent = load(folder, device=device, dtype=Precision.of(recipe, device).weights(folder))
    return Library(parent, [part.path() for part in parts(inputs, "block_library")])
