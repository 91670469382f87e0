"""What a person may write for a recipe, an asset or a model: KEY, KEY@VERSION, a model's name.

Knows how names resolve; opens versions, builds nothing.
"""

from __future__ import annotations

import argparse
import difflib

from assets.catalog import all_specs
from jobs.errors import CommandError
from resources.recipe.reference import Reference
from resources.recipe.schema import Recipe
from resources.store import last_run
from resources.store.home import Home
from warehouse.store import Artifact, Store


def named(home: Home, arguments: argparse.Namespace) -> Reference:
    """The recipe and overrides that a command's options name, else the home's last run's."""
    return last_run.chosen(home, arguments.recipe, arguments.overrides)


def resolve_key(recipe: Recipe, text: str) -> tuple[str, str | None]:
    """The asset key and version prefix that `text` names: `super`, `super/sft`, `super/sft@1f2e`.

    Raises CommandError with the nearest names for an unknown one.
    """
    name, _, version = text.partition("@")
    keys = [spec.key for spec in all_specs(recipe)]
    if name in keys:
        return name, version or None
    if name in recipe.models:
        return f"{name}/{recipe.models[name].artifacts()[-1]}", version or None
    near = difflib.get_close_matches(name, [*keys, *recipe.models], n=3) or list(recipe.models)
    raise CommandError(
        f"no asset or model {name!r} in the recipe {recipe.name}; did you mean {', '.join(near)}? "
        "(`heirloom status` lists them)"
    )


def open_artifact(home: Home, recipe: Recipe, text: str) -> Artifact:
    """The named version, the current one where none is named; CommandError where there is none."""
    key, version = resolve_key(recipe, text)
    store = Store(home.path)
    parts = store.parts(key, version or "")
    if not parts:
        raise CommandError(f"{key} was never built in {home.path}: `heirloom run --select +{key}`")
    if len(parts) > 1:
        raise CommandError(f"{key} has {len(parts)} partitions, it is no one artifact to open")
    return next(iter(parts.values()))
