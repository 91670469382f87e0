"""The family as Dagster runs it: its assets, one job a stage, and the job that makes everything.

Knows which assets a job selects; when a job runs is up to a person, the driver or a sensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dagster as dg

from resources.recipe.schema import Recipe
from resources.store.building import codes_of
from resources.store.dagster import Builder, asset_definition
from resources.store.home import Home
from resources.store.spec import Spec

FAMILY = "family"


def family_assets(specs: Sequence[Spec]) -> list[dg.AssetsDefinition]:
    """One Dagster asset a spec, with the code version that stands on disk now."""
    codes = codes_of(specs)
    return [asset_definition(spec, codes[spec.key]) for spec in specs]


def family_jobs(specs: Sequence[Spec]) -> list[dg.UnresolvedAssetJobDefinition]:
    """`family` (parents to report) and one job a stage, in pipeline order."""
    everything = dg.define_asset_job(FAMILY, description="Everything, parents to report.")
    stages = dict.fromkeys(spec.stage for spec in specs)
    return [
        everything,
        *(dg.define_asset_job(stage, dg.AssetSelection.groups(stage)) for stage in stages),
    ]


def builder(
    home: Home, recipe: Recipe, progress: Callable[[str, float], None] | None = None
) -> Builder:
    """What asset bodies build with: the home and the recipe's execution settings."""
    execution = recipe.execution.model_dump(mode="json")
    places = {"home": str(home.path), "requests": str(home.requests)}
    return Builder(str(home.path), {**execution, **places}, progress)
