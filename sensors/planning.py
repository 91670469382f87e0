"""What a sensor may look at and when: the plan of an idle home, from a process that starts now.

Neither a recipe nor a module that was imported earlier can answer then. Knows when a home is idle
and how a plan is asked for, not what is requested.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from jobs.running.runs import under_way
from resources.checkout import CHECKOUT
from resources.recipe.reference import Reference
from resources.store.home import Home
from warehouse.errors import WarehouseError
from warehouse.files.locks import alone_or_refused

PLANNING_SECONDS = 120

Plan = Mapping[str, Any]
Planner = Callable[[Home, Reference], Plan]


class PlanError(RuntimeError):
    """The plan could not be made: the recipe, the code or a source is in no state to be planned."""


def fresh_plan(home: Home, recipe: Reference) -> Plan:
    """The plan as `plan_json` prints it, from a process that starts now. Raises PlanError."""
    command = [sys.executable, "-m", "jobs.planning.plan_json", "--home", str(home.path)]
    command += recipe.options()
    try:
        answer = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, timeout=PLANNING_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise PlanError(f"planning took more than {PLANNING_SECONDS} s") from error
    if answer.returncode:
        raise PlanError(answer.stderr.strip().splitlines()[-1] if answer.stderr else "no answer")
    plan: Plan = json.loads(answer.stdout)
    return plan


def plan_when_idle(
    instance: dg.DagsterInstance, home: Home, recipe: Reference, planner: Planner
) -> Plan | dg.SkipReason:
    """The plan, or why there is none: a run is at work on the home, or nothing can be planned."""
    try:
        with alone_or_refused(home.driver_lock, "`heirloom run` is at work on this home"):
            pass
    except WarehouseError as busy:
        return dg.SkipReason(str(busy))
    if runs := under_way(instance, home):
        return dg.SkipReason(f"run {runs[0]} is under way")
    try:
        return planner(home, recipe)
    except PlanError as error:
        return dg.SkipReason(f"no plan: {error}")
