"""The parents stage's assets: `<model>/parent`, `parents/teacher` and `parents/tokenizer`."""

from __future__ import annotations

from pathlib import Path

from resources.recipe.schema import Recipe
from resources.store.spec import Spec


def specs(recipe: Recipe) -> list[Spec]:
    """One source asset a checkpoint of the recipe, and the tokenizer."""
    made = [
        _source("parents/tokenizer", "adopt_tokenizer", recipe.resolve(recipe.family.tokenizer)),
        _source("parents/teacher", "adopt", recipe.resolve(recipe.family.teacher)),
    ]
    for name, model in recipe.models.items():
        made.append(_source(f"{name}/parent", "adopt", recipe.resolve(model.parent), name))
    return made


def _source(key: str, function: str, path: Path | str, model: str | None = None) -> Spec:
    tokenizer = function == "adopt_tokenizer"
    return Spec(
        key=key,
        stage="parents",
        fn=f"assets.parents.adopt:{function}",
        source=str(path),
        checks=() if tokenizer else ("assets.parents.checks:weights_complete",),
        model=model,
        kinds=("tokenizers",) if tokenizer else ("safetensors",),
        description=(
            "The family's tokenizer."
            if tokenizer
            else f"A given checkpoint ({path.name if isinstance(path, Path) else path})."
        ),
        predicted={"seconds": 1.0},
    )
