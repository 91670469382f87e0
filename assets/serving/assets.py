"""The serving stage's assets: `<model>/exported` for every model."""

from __future__ import annotations

from resources.recipe.schema import Recipe
from resources.store.spec import Spec

# How much is compared in vLLM: more costs little beside starting it.
PROMPTS, TOKENS = 16, 32


def specs(recipe: Recipe) -> list[Spec]:
    """The export of each model's final checkpoint.

    A model searched for a target that runs this package's own modules may hold blocks that vLLM
    does not have; it is not exported.
    """
    made: list[Spec] = []
    for name, model in recipe.models.items():
        target = model.puzzle.search.target if model.puzzle else None
        if target is not None and target.engine == "transformers":
            continue
        key = f"{name}/{model.artifacts()[-1]}"
        made.append(
            Spec(
                key=f"{name}/exported",
                stage="serving",
                fn="assets.serving.export:build_exported",
                inputs={"model": key},
                recipe={"prompts": PROMPTS, "tokens": TOKENS},
                seed=recipe.family.seed,
                checks=(
                    "assets.serving.checks:layout_sound",
                    "assets.serving.checks:equal_in_vllm",
                ),
                model=name,
                kinds=("torch",),
                description=f"{key} for vLLM: stock where its own class computes the model, else "
                "with our plugin.",
            )
        )
    return made
