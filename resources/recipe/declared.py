"""Benchmarks that come with the package, extended or overridden where a recipe names them.

Works on the tree, so that each value is said to stand where it was written. Knows no protocol.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from resources.recipe.packaged import FOLDER, benchmarks
from resources.recipe.reading.yaml import read
from resources.recipe.tree import Node, merge

BENCHMARKS = "benchmarks"
PREFIX = "heirloom/benchmarks/"


@cache
def bundled(name: str) -> Node:
    """What the package says of one of them."""
    return read(FOLDER / f"{name}.yaml", f"{PREFIX}{name}.yaml", (BENCHMARKS, name))


def completed(root: Node) -> Node:
    """The recipe with what the package says of each benchmark that it names under `benchmarks`."""
    section = root.value.get(BENCHMARKS)
    if section is None or not isinstance(section.value, dict):
        return root
    there = {
        key: merge(bundled(key), node)
        if key in benchmarks() and isinstance(node.value, dict)
        else node
        for key, node in section.value.items()
    }
    return replace(root, value={**root.value, BENCHMARKS: replace(section, value=there)})
