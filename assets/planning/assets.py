"""The planning stage's assets: `<model>/training_plan` of every model that trains anything."""

from __future__ import annotations

import dataclasses
from typing import Any

from resources.costs.workload import settings, works
from resources.recipe.schema import Recipe
from resources.store.spec import Spec


def specs(recipe: Recipe) -> list[Spec]:
    """A plan a model; of a searched model, of the architecture that the search chose.

    The slice holds execution settings, which no other asset's does: here they decide the content.
    """
    return [
        Spec(
            key=f"{name}/training_plan",
            stage="planning",
            fn="assets.planning.plan:plan_training",
            inputs={"parent": recipe.checkpoint_key(name)}
            | ({"architecture": f"{name}/architecture"} if model.puzzle is not None else {}),
            recipe=_slice(recipe, name),
            seed=recipe.family.seed,
            checks=(
                "assets.planning.checks:plan_complete",
                "assets.planning.checks:training_fits",
            ),
            model=name,
            kinds=("torch",),
            pool="gpu",
            description="What each training stage takes: tokens, operations, bytes a rank, hours.",
        )
        for name, model in recipe.models.items()
        if works(recipe, name)
    ]


def _slice(recipe: Recipe, name: str) -> dict[str, Any]:
    return {
        "works": [work.record() for work in works(recipe, name)],
        "settings": dataclasses.asdict(settings(recipe, name)),
    }
