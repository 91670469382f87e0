"""The one `dagster.Definitions`: every asset of one recipe, the jobs and the sensor, on one home.

HEIRLOOM_RECIPE names the recipe (default: the home's last run, else tiny), HEIRLOOM_HOME the home.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from assets.catalog import all_specs
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store import home as homes
from resources.store.building import code_of
from resources.store.dagster import Builder, asset_definition
from resources.store.spec import Spec
from sensors.rebuild import Planner, fresh_plan, rebuild_sensor


def build_defs(
    *,
    recipe: Recipe | None = None,
    specs: Sequence[Spec] | None = None,
    resources: Mapping[str, Any] | None = None,
    progress: Callable[[str, float], None] | None = None,
    planner: Planner = fresh_plan,
) -> dg.Definitions:
    """Assemble the definitions; every part can be replaced in a test."""
    home = homes.find()
    name = homes.recipe_name(home)
    recipe = recipe or load(name)
    specs = all_specs(recipe) if specs is None else specs
    stages = dict.fromkeys(spec.stage for spec in specs)
    execution = {**recipe.execution.model_dump(mode="json"), "requests": str(home.requests)}
    builder = Builder(str(home.path), {"home": str(home.path), **execution}, progress)
    return dg.Definitions(
        assets=[asset_definition(spec, code_of(spec)) for spec in specs],
        jobs=[
            dg.define_asset_job("family", description="Everything, parents to report."),
            *(dg.define_asset_job(stage, dg.AssetSelection.groups(stage)) for stage in stages),
        ],
        sensors=[rebuild_sensor(home, name, planner, frozenset(spec.key for spec in specs))],
        resources={"builder": builder, **(resources or {})},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What the web server, the daemon and `dg` load."""
    return build_defs()
