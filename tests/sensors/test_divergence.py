"""The sensor that answers a diverged run: once, on the record, and only when asked to be on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from definitions import build_defs
from jobs.running.driver import alone
from resources.recipe.reference import Reference
from resources.store.home import Home
from resources.training.loop import interventions
from sensors.divergence import tick
from sensors.planning import PlanError
from tests.jobs import toy
from warehouse.store import Store

RECORD = {"step": 32, "good_step": 30, "what": "the gradient norm", "value": 9.0, "limit": 3.0}
MEMO = "0123abcd"


def planned(home: Home, recipe: Reference) -> Mapping[str, Any]:
    """A plan in which one asset works in the folder MEMO, and another one never stopped."""
    return {"work": {"ffff": "toy/other", MEMO: "toy/trained"}}


def look(home: Home) -> dg.RunRequest | dg.SkipReason:
    """One tick."""
    return tick(dg.DagsterInstance.ephemeral(), home, Reference("toy"), planned)


def test_a_stop_is_answered_and_requested_once(home: Home) -> None:
    work = Store(home.path).scratch / "work" / MEMO
    found = look(home)
    assert isinstance(found, dg.SkipReason) and "no training run stopped" in str(found)
    interventions.stop(work, RECORD, 1)
    request = look(home)
    assert isinstance(request, dg.RunRequest)
    assert request.asset_selection == [dg.AssetKey(["toy", "trained"])]
    answer = interventions.answered(work, 0)
    assert answer == {
        "number": 1,
        "action": "reinitialize_optimizer",
        "by": "sensor",
        "reason": "the gradient norm diverged at optimizer step 32",
    }
    assert isinstance(look(home), dg.SkipReason)
    # It exploded again: no machine tries a third time.
    interventions.stop(work, RECORD, 2)
    again = look(home)
    assert isinstance(again, dg.SkipReason) and "toy/trained diverged 2 times" in str(again)
    assert interventions.stopped(work) is not None


def test_it_waits_for_others_and_says_why(home: Home) -> None:
    interventions.stop(Store(home.path).scratch / "work" / MEMO, RECORD, 1)
    with alone(home):
        busy = look(home)
    assert isinstance(busy, dg.SkipReason) and "`heirloom run` is at work" in str(busy)

    def broken(home: Home, recipe: Reference) -> Mapping[str, Any]:
        raise PlanError("super.yaml: no")

    found = tick(dg.DagsterInstance.ephemeral(), home, Reference("toy"), broken)
    assert isinstance(found, dg.SkipReason) and "no plan: super.yaml: no" in str(found)


def test_it_is_off_until_switched_on(home: Home, tmp_path: Path) -> None:
    defs = build_defs(recipe=toy.recipe(), specs=toy.specs(tmp_path))
    sensor = defs.resolve_sensor_def("resume_diverged")
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_the_plan_names_work_folders(home: Home, tmp_path: Path) -> None:
    from jobs.planning.plan_json import as_json

    plan = toy.plan(home, tmp_path)
    work = as_json(plan)["work"]
    assert work and set(work.values()) <= {step.key for step in plan.todo}
    assert set(work) == {s.found.memo_key for s in plan.todo if s.found.memo_key}


@pytest.fixture
def home(home: Home) -> Home:
    """A home that has its folders."""
    home.prepare()
    return home
