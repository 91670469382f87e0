"""How a run makes one asset: its partitions one by one or side by side, each a Dagster run.

Knows Dagster's in-process runs and worker processes; which assets are made when is the driver's.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import dagster as dg

from jobs.display import Display
from jobs.planning.plan import Step
from jobs.running.reasons import failure, interrupted
from jobs.running.worker import Task
from jobs.running.workers import Watch, side_by_side
from resources.store.building import Code
from resources.store.dagster import Builder
from resources.store.home import Home
from warehouse.store import Artifact, Store


@dataclass(frozen=True)
class Ended:
    """How a step ended: `built`, `restored`, or `failed` with the reason."""

    step: Step
    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class Work:
    """What the steps of one run are made with."""

    home: Home
    builder: Builder
    job: dg.JobDefinition
    instance: dg.DagsterInstance
    tags: Mapping[str, str]
    display: Display

    def make(self, group: Sequence[Step], workers: int) -> Generator[Ended]:
        """Make the steps of one asset; yields each as it ends, whatever became of the others.

        With several workers, what cannot be restored is built in processes of their own; the
        Dagster run that follows restores and records it, or fails with the worker's reason.
        """
        apart = [step for step in group if not step.found.restorable]
        if workers > 1 and len(apart) > 1:
            yield from self._side_by_side(apart, workers)
            group = [step for step in group if step.found.restorable]
        for step in group:
            self.display.start(step.label)
            yield self._record(step, str(uuid.uuid4()))

    def _side_by_side(self, steps: Sequence[Step], workers: int) -> Generator[Ended]:
        by_label = {step.label: step for step in steps}
        threads = self.builder.execution.threads
        execution = self.builder.execution.but(threads=max(1, threads // workers))
        tasks = [
            Task(
                step.spec,
                Code(step.node.code_version, dict(step.node.code_modules)),
                step.partition,
                str(self.home.path),
                execution,
                str(uuid.uuid4()),
            )
            for step in steps
        ]
        watch = Watch(
            self.display.start,
            lambda label, message, done: self.display.progress(message, done, label),
        )
        with closing(side_by_side(tasks, workers, threads, watch)) as ended:
            for task, error in ended:
                if error is not None:
                    self.builder.failures[task.label] = error
                yield self._record(by_label[task.label], task.run_id)

    def _record(self, step: Step, run_id: str) -> Ended:
        """The Dagster run of one step."""
        result = self.job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(step.key.split("/"))],
            partition_key=step.partition,
            tags=dict(self.tags),
            run_id=run_id,
            raise_on_error=False,
        )
        if not result.success and interrupted(result):
            raise KeyboardInterrupt
        if not result.success:
            self.display.finish(step.label, "failed", None, "")
            return Ended(step, "failed", failure(result))
        store = Store(self.home.path)
        artifact = store.artifact(store.heads()[(step.key, step.partition)])
        made = artifact.observations.get("run_id") == run_id
        outcome = "built" if made else "restored"
        self.display.finish(step.label, outcome, *_figures(artifact))
        return Ended(step, outcome)


def _figures(artifact: Artifact) -> tuple[int | None, str]:
    """Rows (None for an artifact of files alone) and the key metric, as the table shows them."""
    metric = next((f"{name} {value:.4g}" for name, value in artifact.metrics.items()), "")
    return (artifact.rows if artifact.manifest["tables"] else None), metric
