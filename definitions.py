"""The one `dagster.Definitions`: every asset of one recipe, the jobs and the sensor, on one home.

HEIRLOOM_RECIPE names the recipe (default: the home's last run, else tiny), HEIRLOOM_HOME the home.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets.catalog import all_specs
from jobs.running.family import builder, family_assets, family_jobs
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store import home as homes
from resources.store import last_run
from resources.store.spec import Spec
from sensors.divergence import divergence_sensor
from sensors.planning import Planner, fresh_plan
from sensors.rebuild import rebuild_sensor


def build_defs(
    *,
    recipe: Recipe | None = None,
    specs: Sequence[Spec] | None = None,
    resources: Mapping[str, Any] | None = None,
    planner: Planner = fresh_plan,
) -> dg.Definitions:
    """Assemble the definitions; every part can be replaced in a test."""
    home = homes.find()
    reference = last_run.chosen(home)
    recipe = recipe or load(*reference)
    specs = all_specs(recipe) if specs is None else specs
    known = frozenset(spec.key for spec in specs)
    return dg.Definitions(
        assets=family_assets(specs),
        jobs=family_jobs(specs),
        sensors=[
            rebuild_sensor(home, reference, planner, known),
            divergence_sensor(home, reference, planner),
        ],
        resources={"builder": builder(home, recipe, reference=reference), **(resources or {})},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What the web server, the daemon and `dg` load."""
    return build_defs()
