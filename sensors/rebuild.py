"""The sensor that rebuilds what changed: sources, recipes, code; off until it is switched on.

The run that a tick requests starts in a fresh process, as its plan does. Knows what may be
requested, not how staleness is found.
"""

from __future__ import annotations

import dagster as dg

from jobs.board import clock
from resources.recipe.reference import Reference
from resources.store.home import Home
from sensors.planning import Planner, fresh_plan, plan_when_idle

NAME = "rebuild"
PLAN_TAG = "heirloom/rebuild"
SECONDS_BETWEEN_TICKS = 30


def rebuild_sensor(
    home: Home, recipe: Reference, planner: Planner = fresh_plan, keys: frozenset[str] | None = None
) -> dg.SensorDefinition:
    """The sensor on one home and recipe. `keys` are the assets that the code location knows."""

    @dg.sensor(
        name=NAME,
        asset_selection=dg.AssetSelection.all(),  # `target` wants all partitioned alike
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Requests one run of exactly the assets that a change made stale.",
    )
    def rebuild(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return tick(context.instance, home, recipe, planner, keys)

    return rebuild


def tick(
    instance: dg.DagsterInstance,
    home: Home,
    recipe: Reference,
    planner: Planner = fresh_plan,
    keys: frozenset[str] | None = None,
) -> dg.RunRequest | dg.SkipReason:
    """One look: a request for the stale assets, or the reason why nothing is requested."""
    plan = plan_when_idle(instance, home, recipe, planner)
    if isinstance(plan, dg.SkipReason):
        return plan
    stale = [asset["key"] for asset in plan["assets"]]
    if not stale:
        return dg.SkipReason("nothing to do: everything is fresh")
    unknown = [key for key in stale if keys is not None and key not in keys]
    if unknown:
        return dg.SkipReason(
            f"the recipe now makes {', '.join(unknown)}: reload the code location to go on"
        )
    if plan["refused"]:
        return dg.SkipReason(plan["refused"][0])
    if plan["seconds"] > plan["approval_seconds"] and not (home.approvals / plan["id"]).exists():
        return dg.SkipReason(
            f"{len(stale)} assets would take about {clock(plan['seconds'])}, more than the "
            f"{clock(plan['approval_seconds'])} allowed without approval: "
            f"`heirloom approve {plan['id']}` starts them"
        )
    # No partition: a partitioned asset then makes all of its own, and restores the fresh ones.
    return dg.RunRequest(
        run_key=plan["id"],
        asset_selection=[dg.AssetKey(key.split("/")) for key in stale],
        tags={PLAN_TAG: plan["id"], "heirloom/recipe": str(recipe)},
    )
