"""The bundled recipes mean what they meant when every one was written out in full.

`slices.json` holds, for each asset, a digest of what its key is made from: the recipe slice of each
partition, the inputs and the seed. A change here rebuilds users' assets; make it only on purpose,
and then write the file anew with `python -m tests.resources.recipe.test_slices`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from assets.catalog import all_specs
from resources.recipe.loading import load

FILE = Path(__file__).parent / "slices.json"
NAMES = ("tiny", "smoke", "paper")


def digests(name: str) -> dict[str, str]:
    found = {}
    for spec in all_specs(load(name, check_paths=False)):
        slices = {str(partition): own for partition, own in spec.slices().items()}
        body = json.dumps([slices, dict(spec.inputs), spec.seed], sort_keys=True)
        found[spec.key] = hashlib.sha256(body.encode()).hexdigest()[:12]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_no_slice_changed(name: str) -> None:
    known, now = json.loads(FILE.read_text())[name], digests(name)
    moved = {key for key in known if now.get(key) != known[key]}
    assert not moved, "these assets of users' homes would be built again"


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: digests(name) for name in NAMES}, indent=1) + "\n")
