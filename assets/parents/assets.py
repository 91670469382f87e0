"""The parents stage's assets: `<model>/parent` and `parents/teacher`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.parents.adopt import TEACHER
from resources.recipe.schema import Recipe
from resources.recipe.sections.model import PARENT
from resources.store.spec import Spec

_FITS = ("assets.parents.checks:weights_complete",)


def specs(recipe: Recipe) -> list[Spec]:
    """One source asset a checkpoint of the recipe."""
    teacher = recipe.family.given_teacher
    made = [] if teacher is None else [_given(recipe, TEACHER, teacher)]
    for name, model in recipe.models.items():
        key = f"{name}/{PARENT}"
        if recipe.checkpoint_key(name) == key:  # else another model's is used
            made.append(_given(recipe, key, model.parent, name))
    return made


def _given(
    recipe: Recipe, key: str, given: str | Mapping[str, Any], model: str | None = None
) -> Spec:
    source = recipe.parent_source(given)
    return Spec(
        key=key,
        stage="parents",
        fn="assets.parents.adopt:adopt",
        source=source,
        checks=_FITS,
        model=model,
        kinds=("safetensors",),
        description=f"A given checkpoint ({source.name}).",
        predicted={"seconds": 1.0},
    )
