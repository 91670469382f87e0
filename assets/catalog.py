"""Every artifact of the family, in pipeline order: the list that planner, Dagster, docs read.

Knows the stages' names and order; what a stage makes stands in its own `assets.py`.
"""

from __future__ import annotations

import importlib
from dataclasses import replace

from resources.costs.budget import predict
from resources.recipe.schema import Recipe
from resources.store.spec import Spec

STAGES = (
    "parents",
    "problems",
    "puzzle",
    "planning",
    "recovery",
    "sft_data",
    "sft",
    "rl_data",
    "rl",
    "serving",
    "evaluation",
)


def all_specs(recipe: Recipe) -> list[Spec]:
    """The specs of every stage; ValueError where a key is made twice or a stage strays."""
    specs: list[Spec] = []
    made: dict[str, str] = {}
    planned = {key: plan.model_dump() for key, plan in predict(recipe).items()}
    for stage in STAGES:
        for spec in importlib.import_module(f"assets.{stage}.assets").specs(recipe):
            if spec.stage != stage:
                raise ValueError(f"assets/{stage} makes {spec.key} for the stage {spec.stage!r}")
            if spec.key in made:
                raise ValueError(f"{spec.key} is made by {made[spec.key]} and by {stage}")
            made[spec.key] = stage
            if spec.runs_programs:
                spec = replace(spec, recipe={**spec.recipe, **recipe.family.running})
            if spec.key in planned:
                spec = replace(spec, predicted=planned[spec.key])
            specs.append(spec)
    return specs
