"""`--set KEY=VALUE`: one value of a recipe written on the command line; knows no schema's meaning.

KEY is the path that `heirloom check --resolved` prints, VALUE is YAML.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable
from pathlib import Path

from resources.recipe.errors import RecipeError, dotted, nearest
from resources.recipe.reading import shape, sharing
from resources.recipe.reading.yaml import parse
from resources.recipe.tree import KeyPath, Node, leaves, plain, put

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_RELATIVE = ("./", "../", "~")
EXAMPLE = "such as --set models.super.distillation.learning_rate=2e-5"


def split(text: str) -> tuple[KeyPath, str]:
    """The key path and the YAML text of one override.

    >>> split("models.nano.sft[0].epochs=2")
    (('models', 'nano', 'sft', 0, 'epochs'), '2')

    Raises:
        RecipeError: there is no '=', or what stands before it is no path.
    """
    key, equals, value = text.partition("=")
    parts: list[str | int] = []
    position = 0
    while position < len(key):
        found = _PART.match(key, position + (key[position] == "." and position > 0))
        if found is None:
            break
        parts.append(found[1] if found[1] is not None else int(found[2]))
        position = found.end()
    if not equals or not parts or position < len(key):
        raise RecipeError(f"--set {text}: must be KEY=VALUE, {EXAMPLE}")
    return tuple(parts), value


def anchored(text: str) -> str:
    """The override with the paths in it that start here written out, so that it means the same
    wherever it is read again: what begins with `./`, and what stands for a `path` and is here."""
    path, value = split(text)
    node = _value(text, value)
    if not any(_starts_here(keys[-1], leaf.value) for keys, leaf in leaves(node, path)):
        return text

    def written_out(key: object, data: object) -> object:
        if isinstance(data, dict):
            return {inner: written_out(inner, each) for inner, each in data.items()}
        if isinstance(data, list):
            return [written_out(None, each) for each in data]
        if isinstance(data, str) and _starts_here(key, data):
            return str(Path(data).expanduser().resolve())
        return data

    made = written_out(path[-1], plain(node))
    return f"{dotted(path)}={made if isinstance(made, str) else json.dumps(made)}"


def _starts_here(key: object, value: object) -> bool:
    if not isinstance(value, str):
        return False
    return value.startswith(_RELATIVE) or (
        key == "path" and not Path(value).is_absolute() and bool(glob.glob(value))
    )


def apply(root: Node, overrides: Iterable[str]) -> Node:
    """The recipe with every override in it, later ones over earlier ones.

    Raises:
        RecipeError: an override is malformed, or its key leads where the recipe has nothing.
    """
    for text in overrides:
        path, value = split(text)
        _refuse_unknown(root, path, text)
        try:
            root = put(root, path, _value(text, value))
        except KeyError as error:
            there = dotted(error.args[0])
            raise RecipeError(f"--set {text}: {there} holds no further keys") from None
    return root


def _value(text: str, value: str) -> Node:
    return parse(value, f"--set {text}", Path.cwd(), lines=False)


def _refuse_unknown(root: Node, path: KeyPath, text: str) -> None:
    """A word that neither the recipe nor the schema has, before it makes a section of its own."""
    for length in range(1, len(path) + 1):
        before, key = path[: length - 1], path[length - 1]
        if root.at(path[:length]) is not None:
            continue
        node = root.at(before)
        here = list(map(str, node.value)) if node and isinstance(node.value, dict) else []
        if node is not None and not isinstance(node.value, dict | list):
            raise RecipeError(f"--set {text}: {dotted(before)} holds no further keys")
        if node is not None and isinstance(node.value, list):
            count = len(node.value)
            there = f"holds {count}, {dotted((*before, 0))} the first" if count else "is empty"
            raise RecipeError(f"--set {text}: {dotted(before)} is a list and {there}")
        if isinstance(key, int):
            there = dotted(before)
            raise RecipeError(f"--set {text}: {there} has no entries; give it whole, {there}=[…]")
        known = shape.keys(before)
        if known is None and key == sharing.EACH:
            continue
        if known is None and length == len(path):
            return  # a new name in a mapping of the writer's own names
        allowed = list(dict.fromkeys([*here, *(known or []), *sharing.keys(before)]))
        if key not in allowed:
            place = f"{dotted(before)} has" if before else "a recipe has"
            parts = str(key).strip("/").split("/")
            right = nearest(str(key), allowed)
            if len(parts) > 1 and parts[0] in allowed:
                right = f"join the parts of a path by dots: {dotted((*before, *parts))}"
            raise RecipeError(f"--set {text}: {place} no '{key}'; {right}")
