"""Trackers that show a run while it goes: TensorBoard files, Weights & Biases, MLflow.

All are optional packages of the extra `trackers` and off by default. Knows names and numbers;
nothing of training.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

PROJECT = "heirloom"


class TrackerError(ValueError):
    """A tracker cannot be used; the message says which and what would be right."""


class Tracker(Protocol):
    """What is told of a run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a step (from 1)."""

    def close(self) -> None:
        """The run ended or stopped."""


class TensorBoard:
    """Event files in `<home>/tensorboard/<asset>/<run>/`; a resumed run drops what it repeats."""

    def __init__(self, home: Path, asset: str, run: str, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = home / "tensorboard" / asset / run
        self.writer = SummaryWriter(str(self.folder), purge_step=done + 1 if done else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of the project `heirloom`; where and whether it is sent is W&B's own settings' word."""

    def __init__(self, home: Path, asset: str, run: str, done: int) -> None:
        wandb: Any = importlib.import_module("wandb")
        self.run = wandb.init(
            project=PROJECT, group=asset, name=f"{asset} {run}", id=run, resume="allow", dir=home
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


class MlFlow:
    """A run of the experiment `heirloom`, at MLflow's own tracking address."""

    def __init__(self, home: Path, asset: str, run: str, done: int) -> None:
        mlflow: Any = importlib.import_module("mlflow")
        self.client = mlflow.MlflowClient()
        found = self.client.get_experiment_by_name(PROJECT)
        experiment = found.experiment_id if found else self.client.create_experiment(PROJECT)
        known = self.client.search_runs([experiment], f"tags.heirloom_run = '{run}'")
        if known:
            self.run_id = known[0].info.run_id
            self.client.update_run(self.run_id, status="RUNNING")
        else:
            tags = {"heirloom_run": run, "asset": asset}
            made = self.client.create_run(experiment, tags=tags, run_name=f"{asset} {run}")
            self.run_id = made.info.run_id

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run_id, name, value, step=step)

    def close(self) -> None:
        self.client.set_terminated(self.run_id)


KNOWN: dict[str, tuple[str, Callable[[Path, str, str, int], Tracker]]] = {
    "tensorboard": ("tensorboard", TensorBoard),
    "wandb": ("wandb", WeightsAndBiases),
    "mlflow": ("mlflow", MlFlow),
}


def check(names: Sequence[str]) -> None:
    """Raises TrackerError for a name that is not known or whose package is not installed."""
    for name in names:
        if name not in KNOWN:
            raise TrackerError(f"no tracker {name!r}; there are {', '.join(KNOWN)}")
        if importlib.util.find_spec(KNOWN[name][0]) is None:
            raise TrackerError(
                f"the tracker {name!r} needs the package {KNOWN[name][0]}, which is not installed: "
                "`pip install 'heirloom[trackers]'`, or leave it out of `trackers` in "
                "execution.yaml"
            )


def open_all(names: Sequence[str], home: Path, asset: str, run: str, done: int) -> list[Tracker]:
    """The trackers of a run of `asset`, which has `done` steps behind it; `run` names it for good.

    Raises TrackerError as `check` does.
    """
    check(names)
    return [KNOWN[name][1](home, asset, run, done) for name in names]
