"""The sensor that lets a diverged training run go on, once, on the record; off until switched on.

A run that explodes stops at its last good checkpoint and leaves a record in its work folder. This
sensor answers as the paper's team did (fresh optimizer states, arXiv 2505.00949 section 4) and
requests the asset again. Knows what may be answered, not what a divergence is.
"""

from __future__ import annotations

import dagster as dg

from resources.recipe.reference import Reference
from resources.store.home import Home
from resources.training.loop import interventions
from sensors.planning import Planner, fresh_plan, plan_when_idle
from warehouse.store import Store
from warehouse.unfinished import begun

NAME = "resume_diverged"
RESUME_TAG = "heirloom/resume"
SECONDS_BETWEEN_TICKS = 60
AT_MOST = 1  # answers to one run; a second explosion is for a person to look at


def divergence_sensor(
    home: Home, recipe: Reference, planner: Planner = fresh_plan
) -> dg.SensorDefinition:
    """The sensor on one home and recipe."""

    @dg.sensor(
        name=NAME,
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Resumes a training run that diverged with fresh optimizer states, once.",
    )
    def resume_diverged(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return tick(context.instance, home, recipe, planner)

    return resume_diverged


def tick(
    instance: dg.DagsterInstance, home: Home, recipe: Reference, planner: Planner = fresh_plan
) -> dg.RunRequest | dg.SkipReason:
    """One look: answers the first stop that waits and requests its asset, or says why not."""
    plan = plan_when_idle(instance, home, recipe, planner)
    if isinstance(plan, dg.SkipReason):
        return plan
    scratch, given_up = Store(home.path).scratch, []
    for memo_key, key in plan["work"].items():
        folder = begun(scratch, memo_key)
        record = None if folder is None else interventions.stopped(folder)
        if folder is None or record is None:
            continue
        if record["number"] > AT_MOST:
            given_up.append(f"{key} diverged {record['number']} times")
            continue
        interventions.answer(
            folder,
            by="sensor",
            reason=f"{record['what']} diverged at optimizer step {record['step']}",
        )
        return dg.RunRequest(
            run_key=f"{memo_key}:{record['number']}",
            asset_selection=[dg.AssetKey(key.split("/"))],
            tags={RESUME_TAG: str(record["number"]), "heirloom/recipe": str(recipe)},
        )
    if given_up:
        return dg.SkipReason(f"{'; '.join(given_up)}: `heirloom resume` after a look at the curves")
    return dg.SkipReason("no training run stopped because it diverged")
