"""The parents stage's assets: `<model>/parent`, `parents/teacher` and `parents/tokenizer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.parents.adopt import TEACHER
from resources.recipe.schema import Recipe
from resources.store.spec import Spec

_FITS = ("assets.parents.checks:weights_complete",)


def specs(recipe: Recipe) -> list[Spec]:
    """One source asset a checkpoint of the recipe, and the tokenizer."""
    family = recipe.family
    made = [
        _given(recipe, "parents/tokenizer", "adopt_tokenizer", family.tokenizer),
        _given(recipe, TEACHER, "adopt", family.teacher),
    ]
    for name, model in recipe.models.items():
        made.append(_given(recipe, f"{name}/parent", "adopt", model.parent, name))
    return made


def _given(
    recipe: Recipe,
    key: str,
    function: str,
    given: str | Mapping[str, Any],
    model: str | None = None,
) -> Spec:
    source = recipe.parent_source(given)
    tokenizer = function == "adopt_tokenizer"
    return Spec(
        key=key,
        stage="parents",
        fn=f"assets.parents.adopt:{function}",
        source=source,
        checks=() if tokenizer else _FITS,
        model=model,
        kinds=("tokenizers",) if tokenizer else ("safetensors",),
        description=(
            "The family's tokenizer." if tokenizer else f"A given checkpoint ({source.name})."
        ),
        predicted={"seconds": 1.0},
    )
