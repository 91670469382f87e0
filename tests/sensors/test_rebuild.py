"""The rebuilding sensor by real ticks: exactly the stale assets, once, and never unasked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from definitions import build_defs
from jobs.planning.plan_json import as_json
from jobs.running.driver import alone
from resources.recipe.reference import Reference
from resources.store.home import Home
from resources.store.processes import TAG
from sensors.planning import PlanError, fresh_plan
from sensors.rebuild import tick
from tests.jobs import toy, toy_groups
from warehouse.store import Store


class Harness:
    """One home, one sensor, one instance; requests are executed as the daemon would."""

    def __init__(self, home: Home, folder: Path, instance: dg.DagsterInstance) -> None:
        self.home, self.folder, self.instance = home, folder, instance
        self.options: dict[str, Any] = {}
        self.seen: set[str | None] = set()

    def plan(self, home: Home, recipe: Reference) -> Mapping[str, Any]:
        return as_json(toy.plan(home, self.folder, **self.options))

    def defs(self) -> dg.Definitions:
        specs = toy.specs(self.folder, **self.options)
        return build_defs(recipe=toy.recipe(), specs=specs, planner=self.plan)

    def tick(self) -> dg.RunRequest | str:
        """A request, or why there is none; run keys are remembered as Dagster does."""
        sensor = self.defs().resolve_sensor_def("rebuild")
        context = dg.build_sensor_context(instance=self.instance, definitions=self.defs())
        data = sensor.evaluate_tick(context)
        if not data.run_requests:
            return str(data.skip_message)
        [request] = data.run_requests
        if request.run_key in self.seen:
            return "already requested"
        self.seen.add(request.run_key)
        return request

    def execute(self, request: dg.RunRequest) -> bool:
        job = self.defs().resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=self.instance,
            asset_selection=request.asset_selection,
            tags=request.tags,
            raise_on_error=False,
        )
        return bool(result.success)


@pytest.fixture
def harness(home: Home, folder: Path) -> Harness:
    return Harness(home, folder, dg.DagsterInstance.ephemeral())


def keys(request: dg.RunRequest | str) -> set[str]:
    assert isinstance(request, dg.RunRequest), request
    return {key.to_user_string() for key in request.asset_selection or []}


def test_rebuilds_exactly_what_changed(harness: Harness) -> None:
    first = harness.tick()
    assert keys(first) == {"toy/numbers", "toy/doubled", "toy/total", "toy/listing"}
    assert isinstance(first, dg.RunRequest) and harness.execute(first)
    assert harness.tick() == "nothing to do: everything is fresh"

    harness.options["factor"] = 3  # a changed recipe
    change = harness.tick()
    assert keys(change) == {"toy/doubled", "toy/total"}
    assert isinstance(change, dg.RunRequest) and harness.execute(change)
    harness.options["factor"] = 2  # and back, and forth again: each time anew
    back = harness.tick()
    assert isinstance(back, dg.RunRequest) and harness.execute(back)
    harness.options["factor"] = 3
    forth = harness.tick()
    assert keys(forth) == {"toy/doubled", "toy/total"}
    assert isinstance(forth, dg.RunRequest) and harness.execute(forth)

    (harness.folder / "new.json").write_text(json.dumps([10]))  # a file dropped
    dropped = harness.tick()
    assert "toy/listing" in keys(dropped)
    assert isinstance(dropped, dg.RunRequest) and harness.execute(dropped)
    total = Store(harness.home.path).current("toy/total")
    assert total is not None and total.metrics["sum"] == (2 + 4 + 10) * 3
    assert harness.tick() == "nothing to do: everything is fresh"


def test_a_failed_plan_is_not_asked_for_again_and_again(harness: Harness) -> None:
    harness.options["wanted"] = 5
    first = harness.tick()
    assert isinstance(first, dg.RunRequest) and not harness.execute(first)
    second = harness.tick()  # something was made, so what is left is another plan
    assert keys(second) == {"toy/total"}
    assert isinstance(second, dg.RunRequest) and not harness.execute(second)
    assert harness.tick() == "already requested"


def test_what_does_not_fit_is_not_requested(harness: Harness) -> None:
    why = "super/sft needs 111.8 GB a rank on 8 x H100"

    def refused(home: Home, recipe: Reference) -> Mapping[str, Any]:
        return {**harness.plan(home, recipe), "refused": [why]}

    assert harness.plan(harness.home, "toy")["refused"] == []
    found = tick(harness.instance, harness.home, Reference("toy"), refused)
    assert isinstance(found, dg.SkipReason) and str(found.skip_message) == why


def test_costly_plans_wait_for_approval(harness: Harness) -> None:
    harness.options["seconds"] = 36_000.0
    reason = harness.tick()
    assert isinstance(reason, str) and "4 assets would take about 40 h" in reason
    plan = reason.split("`heirloom approve ")[1][:12]
    harness.home.approvals.mkdir()
    (harness.home.approvals / plan).touch()
    assert len(keys(harness.tick())) == 4


def test_nothing_is_requested_while_something_runs(harness: Harness) -> None:
    with alone(harness.home):
        assert "heirloom run" in str(harness.tick())
    job = harness.defs().resolve_job_def("family")
    run = harness.instance.create_run_for_job(job)
    assert harness.tick() == f"run {run.run_id} is under way"
    harness.instance.delete_run(run.run_id)
    harness.instance.create_run_for_job(job, tags={TAG: "0123456789ab"})  # its process is gone
    assert isinstance(harness.tick(), dg.RunRequest)


def test_new_assets_ask_for_a_reload(harness: Harness) -> None:
    known = frozenset({"toy/numbers"})
    reason = tick(harness.instance, harness.home, Reference("toy"), harness.plan, known)
    assert isinstance(reason, dg.SkipReason)
    assert "reload the code location" in str(reason.skip_message)


def test_a_broken_recipe_is_a_reason_not_a_crash(harness: Harness, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no recipe 'nowhere'"):
        fresh_plan(harness.home, Reference("nowhere"))
    reason = tick(harness.instance, harness.home, Reference("nowhere"))
    assert isinstance(reason, dg.SkipReason) and "no recipe" in str(reason.skip_message)


class Groups(Harness):
    """The same with the family whose library is partitioned."""

    def plan(self, home: Home, recipe: Reference) -> Mapping[str, Any]:
        return as_json(toy_groups.plan(home, self.folder, **self.options))

    def defs(self) -> dg.Definitions:
        specs = toy_groups.specs(self.folder, **self.options)
        return build_defs(recipe=toy.recipe(), specs=specs, planner=self.plan)


def test_one_run_makes_the_partitions_and_what_reads_them(home: Home, folder: Path) -> None:
    harness = Groups(home, folder, dg.DagsterInstance.ephemeral())
    first = harness.tick()
    assert keys(first) == {"toy/numbers", "toy/library", "toy/joined"}
    assert isinstance(first, dg.RunRequest) and first.partition_key is None
    assert harness.execute(first)
    assert harness.tick() == "nothing to do: everything is fresh"
    built = (folder.parent / "built").read_text().splitlines()
    harness.options = {"count": 2, "own": {1: {"own": 10}}}
    change = harness.tick()
    assert keys(change) == {"toy/library", "toy/joined"}
    assert isinstance(change, dg.RunRequest) and harness.execute(change)
    again = (folder.parent / "built").read_text().splitlines()[len(built) :]
    assert [line.split()[0] for line in again] == ["2"]
    harness.options = {"count": 3}
    regrouped = harness.tick()
    assert isinstance(regrouped, dg.RunRequest) and harness.execute(regrouped)
    assert harness.tick() == "nothing to do: everything is fresh"


def test_off_by_default(harness: Harness) -> None:
    sensor = harness.defs().resolve_sensor_def("rebuild")
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
