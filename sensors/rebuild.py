"""The sensor that rebuilds what changed: sources, recipes, code; off until it is switched on.

Each tick asks the planner in a fresh process, so that neither a recipe nor a module that was
imported earlier can answer; the run it requests starts in a fresh process too. Knows what may be
requested and when, not how staleness is found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from jobs.display import clock
from jobs.runs import under_way
from resources.store.home import CHECKOUT, Home
from warehouse.errors import WarehouseError
from warehouse.locks import alone_or_refused

NAME = "rebuild"
PLAN_TAG = "heirloom/rebuild"
SECONDS_BETWEEN_TICKS = 30
PLANNING_SECONDS = 120

Planner = Callable[[Home, str], Mapping[str, Any]]


class PlanError(RuntimeError):
    """The plan could not be made: the recipe, the code or a source is in no state to be planned."""


def fresh_plan(home: Home, recipe: str) -> Mapping[str, Any]:
    """The plan as `jobs.plan` prints it, from a process that starts now. Raises PlanError."""
    command = [sys.executable, "-m", "jobs.plan", "--home", str(home.path), "--recipe", recipe]
    try:
        answer = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, timeout=PLANNING_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise PlanError(f"planning took more than {PLANNING_SECONDS} s") from error
    if answer.returncode:
        raise PlanError(answer.stderr.strip().splitlines()[-1] if answer.stderr else "no answer")
    plan: Mapping[str, Any] = json.loads(answer.stdout)
    return plan


def rebuild_sensor(
    home: Home, recipe: str, planner: Planner = fresh_plan, keys: frozenset[str] | None = None
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
    recipe: str,
    planner: Planner = fresh_plan,
    keys: frozenset[str] | None = None,
) -> dg.RunRequest | dg.SkipReason:
    """One look: a request for the stale assets, or the reason why nothing is requested."""
    try:
        with alone_or_refused(home.driver_lock, "`heirloom run` is at work on this home"):
            pass
    except WarehouseError as busy:
        return dg.SkipReason(str(busy))
    if runs := under_way(instance, home):
        return dg.SkipReason(f"run {runs[0]} is under way")
    try:
        plan = planner(home, recipe)
    except PlanError as error:
        return dg.SkipReason(f"no plan: {error}")
    stale = [asset["key"] for asset in plan["assets"]]
    if not stale:
        return dg.SkipReason("nothing to do: everything is fresh")
    unknown = [key for key in stale if keys is not None and key not in keys]
    if unknown:
        return dg.SkipReason(
            f"the recipe now makes {', '.join(unknown)}: reload the code location to go on"
        )
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
        tags={PLAN_TAG: plan["id"], "heirloom/recipe": recipe},
    )
