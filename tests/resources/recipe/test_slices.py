"""What the bundled recipes' assets are made from stays what it was."""

from __future__ import annotations

import json

from tests.resources.recipe import slices


def test_no_asset_of_a_bundled_recipe_is_made_from_something_else() -> None:
    """A home finds its artifacts by these: see `slices.py` before writing the file anew."""
    was = json.loads(slices.FILE.read_text())
    now = slices.hashes()
    changed = [
        f"{recipe}: {key}"
        for recipe in sorted(was.keys() | now.keys())
        for key in sorted(was.get(recipe, {}).keys() | now.get(recipe, {}).keys())
        if was.get(recipe, {}).get(key) != now.get(recipe, {}).get(key)
    ]
    assert changed == []
