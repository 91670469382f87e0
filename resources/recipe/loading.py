"""Loading a recipe: its tree with all that it extends, overrides, then the schema, then across
sections.

Every refusal is one line: file and line, key path, what is wrong, what would be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.recipe import paths
from resources.recipe.declared import completed
from resources.recipe.errors import RecipeError, dotted
from resources.recipe.reading import finding, sharing
from resources.recipe.reading.faults import Fault
from resources.recipe.reading.finding import HERE, names
from resources.recipe.reading.later import taken_out
from resources.recipe.reading.overrides import apply, split
from resources.recipe.reading.shape import MODELS
from resources.recipe.reading.validating import SCHEMA, validate
from resources.recipe.schema import Recipe, disagreements
from resources.recipe.tree import KeyPath, Node, marks, swept

__all__ = ["HERE", "Examined", "examine", "load", "names"]


@dataclass(frozen=True)
class Examined:
    """What a recipe says, as a tree with origins; the recipe itself where its schema accepts it."""

    tree: Node | None
    recipe: Recipe | None
    faults: list[Fault]


def load(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, check_paths: bool = True
) -> Recipe:
    """Load a recipe that comes with the package (by name) or a recipe file or folder (by path).

    With `check_paths`, local parent and teacher folders must exist.

    Raises:
        RecipeError: one line naming the file, the line, the key path and what would be right.
    """
    found = examine(name_or_path, overrides, check_paths=check_paths)
    if found.faults:
        more = len(found.faults) - 1
        rest = f" (and {more} more: `heirloom check {name_or_path}` lists them)" if more else ""
        raise RecipeError(f"{found.faults[0]}{rest}")
    assert found.recipe is not None
    return found.recipe


def examine(
    name_or_path: str | Path, overrides: Sequence[str] = (), *, check_paths: bool = True
) -> Examined:
    """A recipe with every fault that its own text shows, not the first alone.

    Raises:
        RecipeError: there is no such recipe.
    """
    path = finding.find(name_or_path)
    try:
        written = apply(completed(finding.tree(path)), overrides)
        root = swept(completed(sharing.spread(written)))
    except RecipeError as error:
        return Examined(None, None, [Fault(SCHEMA, "", str(error))])
    root, later = taken_out(root)
    sections, faults = validate(root, finding.title(path))
    faults = sharing.told_once(faults, sharing.shared_values(written)) + later
    if faults != later or sections.family is None or sections.execution is None:
        return Examined(root, None, faults)
    found = {dotted(where): node for where, node in marks(root)}
    recipe = Recipe(
        finding.title(path),
        finding.directory(path),
        sections.family,
        sections.models,
        sections.execution,
        marks={where: node for where, node in found.items() if node.mark is not None},
        tree=root,
        shared=tuple(sharing.shared_values(written)),
        overrides=tuple(overrides),
    )
    for where, message in disagreements(recipe.family, recipe.models):
        faults.append(fault_at(root, _keys(where, root), message))
    if check_paths:
        faults += _missing_paths(recipe)
    return Examined(root, recipe, faults)


def fault_at(root: Node, keys: KeyPath, what: str, remedy: str = "", group: str = SCHEMA) -> Fault:
    """A fault of what stands at a path of a recipe's tree, with file and line."""
    return Fault(group, f"{root.nearest(keys).origin}: {dotted(keys)}", what, remedy)


def _keys(where: str, root: Node) -> KeyPath:
    """The path in the tree of a place as `disagreements` names it, "family.…" or "<model>.…"."""
    top, _, rest = where.partition(".")
    keys, _ = split(f"{rest}=")
    if top == "family":
        return keys
    stages = root.at((MODELS, top, keys[0]))
    if len(keys) > 1 and isinstance(keys[1], int) and stages and isinstance(stages.value, dict):
        named = [key for key, part in stages.value.items() if part.value is not None]
        keys = (keys[0], named[keys[1]], *keys[2:])
    return (MODELS, top, *keys)


def _missing_paths(recipe: Recipe) -> list[Fault]:
    family = recipe.family
    wanted: list[tuple[KeyPath, str | dict[str, Any]]] = [
        *([(family.teacher_key, family.given_teacher)] if family.given_teacher else []),
        *(((MODELS, name, "parent"), model.parent) for name, model in recipe.models.items()),
    ]
    if family.reward_model and family.reward_model.pretrained:
        wanted.append((("reward_model", "pretrained"), family.reward_model.pretrained))
    faults = []
    for keys, given in wanted:
        try:
            paths.check(paths.parent_source(given, recipe.directory))
        except RecipeError as error:
            faults.append(fault_at(recipe.tree, keys, str(error)))
    return faults
