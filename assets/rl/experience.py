"""What an RL run has done so far, kept so that a killed run continues on a rollout boundary.

Every step's rollouts and metrics are two files in the work folder, written whole; the trainer's
checkpoint says how many of them count. Knows files and tables, not losses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.rl.rollouts import Rollout, rollout_table
from resources.training.loop.measuring import metrics_table
from resources.training.loop.trainer import Trainer
from resources.training.plots import curve
from warehouse.files.filesystem import replacing
from warehouse.store import Output

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = ("reward", "reward_accuracy", "reward_format")


class Experience:
    """Rollouts and metrics of a run, by step."""

    def __init__(self, workdir: Path, recipe: Mapping[str, Any], save_every_seconds: float) -> None:
        self.folder = workdir / "rollouts"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.asset_key, self.model = recipe["asset_key"], recipe["model"]
        self.stage, self.save_every_seconds = recipe["stage"], save_every_seconds
        self.history: list[dict[str, float]] = []
        self.saved = time.monotonic()

    def resume(self, steps: int) -> int:
        """Take up the first `steps` recorded steps, which the trainer's checkpoint contains."""
        self.history = [json.loads(self._file(step, "json").read_text()) for step in range(steps)]
        return steps

    def add(
        self,
        step: int,
        made: Sequence[Rollout],
        policy_version: str,
        updates: int,
        metrics: Mapping[str, float],
    ) -> None:
        """Record a finished step; `updates` counts optimizer steps so far."""
        import pyarrow.parquet as pq

        table = rollout_table(made, self.asset_key, self.model, self.stage, step, policy_version)
        tokens = sum(len(one.tokens) for one in made)
        tokens += int(self.history[-1]["tokens"]) if self.history else 0
        record = {"step": updates, "tokens": tokens, **metrics}
        with replacing(self._file(step, "parquet")) as aside:
            pq.write_table(table, aside)
        with replacing(self._file(step, "json")) as aside:
            aside.write_text(json.dumps(record))
        self.history.append(record)

    def save(self, trainer: Trainer, *, last: bool) -> None:
        """Save the trainer at the end, and before it when the last save is some seconds old."""
        if last or time.monotonic() - self.saved >= self.save_every_seconds:
            trainer.save()
            self.saved = time.monotonic()

    def table(self) -> pa.Table:
        """All rollouts so far."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        return pa.concat_tables(
            [pq.read_table(self._file(step, "parquet")) for step in range(len(self.history))]
        )

    def output(
        self, checkpoint: Path, tables: Mapping[str, Any] | None = None, **metrics: float
    ) -> Output:
        """The artifact: checkpoint, rollouts, metrics and reward curve.

        Rewards of the first and the last quarter of the steps are compared, since a single step's
        mean is noisy.
        """
        rewards = [record["reward"] for record in self.history]
        quarter = max(1, len(rewards) // 4)
        shown = {name: [record[name] for record in self.history] for name in SHOWN}
        return Output(
            tables={
                "rollouts": self.table(),
                "training_metrics": metrics_table(self.history, self.stage),
                **(tables or {}),
            },
            files={"": checkpoint},
            metrics={
                "reward_last": sum(rewards[-quarter:]) / quarter,
                "reward_first": sum(rewards[:quarter]) / quarter,
                "follows_toggle_last": sum(shown["reward_format"][-quarter:]) / quarter,
                "accuracy_first": sum(shown["reward_accuracy"][:quarter]) / quarter,
                "accuracy_last": sum(shown["reward_accuracy"][-quarter:]) / quarter,
                "largest_engine_error": max(
                    (record.get("engine_error", 0.0) for record in self.history), default=0.0
                ),
                **metrics,
            },
            images={"reward": curve(list(range(len(rewards))), shown, x_label="rollout step")},
        )

    def _file(self, step: int, kind: str) -> Path:
        return self.folder / f"{step:06d}.{kind}"
