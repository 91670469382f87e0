"""Dagster runs of one home: which are under way, and the clean-up of those whose process is gone.

Knows Dagster's instance; decides nothing about assets.
"""

from __future__ import annotations

import dagster as dg

from resources.store.home import Home
from resources.store.processes import TAG, alive

WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
WORKING = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def fail_orphans(instance: dg.DagsterInstance, home: Home) -> list[str]:
    """Fail the runs whose process is gone and free their pool slots; returns their ids.

    Without this a killed run would stay "started" for ever and keep its slots.
    """
    gone = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[*WAITING, *WORKING])):
        token = run.tags.get(TAG)
        if token is not None and not alive(home.processes, token):
            instance.report_run_failed(run, f"the process of run {run.run_id} is gone")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            gone.append(run.run_id)
    return gone


def under_way(instance: dg.DagsterInstance, home: Home) -> list[str]:
    """The ids of runs that wait or work and whose process, where one is known, is alive."""
    fail_orphans(instance, home)
    return [run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=[*WAITING, *WORKING]))]
