"""Whatever stands in a recipe file, loading either works or refuses in one line."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.recipe.reading.yaml import read
from resources.recipe.tree import KeyPath, plain

WRITTEN_OUT = Path(__file__).parent / "written_out"
FILES = ("family", "super", "ultra", "execution")
ODD: tuple[Any, ...] = ("nonsense", -1, 0, [], {}, [[]], {"value": 1}, None, True, 1e99)


def paths(node: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*path, key))


@pytest.mark.parametrize("file", FILES)
def test_any_odd_value_is_taken_or_refused_in_one_line(file: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(WRITTEN_OUT, folder)
    whole: Any = plain(read(folder / f"{file}.yaml", file))
    refused = 0
    for number, path in enumerate(list(paths(whole))[::4]):
        changed = copy.deepcopy(whole)
        node: Any = changed
        for key in path[:-1]:
            node = node[key]
        odd = ODD[number % len(ODD)]
        node[path[-1]] = odd
        dumped = yaml.safe_dump(changed, sort_keys=False)
        (folder / f"{file}.yaml").write_text(dumped)
        try:
            load(folder, check_paths=False)
        except RecipeError as error:
            refused += 1
            message = str(error)
            assert "\n" not in message, (path, odd)
            assert ".yaml" in message, (path, odd)
            assert len(message) < 600, (path, odd)
    assert refused > 2
