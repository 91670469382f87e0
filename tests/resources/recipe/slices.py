"""Hashes of what the bundled recipes' assets are made from: run it to write them anew.

`python -m tests.resources.recipe.slices` writes `slices.json` beside it: for each recipe and asset
a hash of its inputs, its seed and its recipe slices. A home's artifacts are found by them, so a
hash that changes is work that every user pays for again: the commit says why.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from assets.catalog import all_specs
from resources.recipe.loading import load

RECIPES = ("tiny", "smoke", "paper")
FILE = Path(__file__).with_suffix(".json")


def hashes() -> dict[str, dict[str, str]]:
    """Recipe -> asset key -> the first 12 hexadecimal digits."""
    return {
        name: {
            spec.key: _hash([dict(spec.inputs), spec.seed, list(spec.slices().items())])
            for spec in all_specs(load(name, check_paths=False))
        }
        for name in RECIPES
    }


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


if __name__ == "__main__":
    FILE.write_text(json.dumps(hashes(), indent=1, sort_keys=True) + "\n")
