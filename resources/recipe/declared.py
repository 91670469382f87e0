"""Benchmarks and mappings of data sets that come with the package, where a recipe names them.

Works on the tree, so that each value is said to stand where it was written. Knows no protocol.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from resources.recipe.errors import RecipeError, nearest
from resources.recipe.packaged import FOLDER, MAPPINGS, benchmarks, mappings
from resources.recipe.reading.yaml import read
from resources.recipe.tree import Node, merge, plain

BENCHMARKS, SOURCES, LIKE = "benchmarks", "sources", "like"
OF_THE_HUB = ("files", "config", "split")  # which files of a hub's data set are read
PREFIX, SOURCES_PREFIX = "heirloom/benchmarks/", "heirloom/sources/"


@cache
def bundled(name: str) -> Node:
    """What the package says of one of them."""
    return read(FOLDER / f"{name}.yaml", f"{PREFIX}{name}.yaml", (BENCHMARKS, name))


@cache
def mapping(name: str) -> Node:
    """What the package says of how a published data set is read."""
    return read(MAPPINGS / f"{name}.yaml", f"{SOURCES_PREFIX}{name}.yaml", (SOURCES, name))


def completed(root: Node) -> Node:
    """The recipe with what the package says of each benchmark that it names under `benchmarks`, and
    of the data set that a source is `like`. RecipeError where there is no such data set."""
    return _alike(_measured(root))


def _measured(root: Node) -> Node:
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


def _alike(root: Node) -> Node:
    section = root.value.get(SOURCES)
    if section is None or not isinstance(section.value, dict):
        return root
    there = {key: _like(key, node) for key, node in section.value.items()}
    return replace(root, value={**root.value, SOURCES: replace(section, value=there)})


def _like(key: object, node: Node) -> Node:
    """A source on top of the mapping that it names; a path of its own needs none of the hub's."""
    if not isinstance(node.value, dict) or LIKE not in node.value:
        return node
    said = node.value[LIKE]
    if said.value not in mappings():
        raise RecipeError(
            f"{said.origin}: {SOURCES}.{key}.{LIKE}: no mapping '{plain(said)}'; "
            f"{nearest(str(plain(said)), mappings())}"
        )
    own = {name: child for name, child in node.value.items() if name != LIKE}
    base = mapping(said.value)
    if "path" in own:
        base = replace(base, value={k: v for k, v in base.value.items() if k not in OF_THE_HUB})
    return merge(base, replace(node, value=own))
