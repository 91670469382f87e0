"""A divergence guard at work on a run: it stops the run, or sends it back to go on afresh.

Knows trainers, guards and the two files of `interventions`; nothing of models and batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resources.training import checkpoint
from resources.training.loop import interventions
from resources.training.loop.guard import Diverged, Guard
from resources.training.ranks import runtime

if TYPE_CHECKING:
    from resources.recipe.sections.base import Divergence
    from resources.training.loop.trainer import Trainer


class Watch:
    """A guard at work on one trainer, which makes the asset `key`: stops it or sends it back."""

    def __init__(self, trainer: Trainer, config: Divergence, key: str = "") -> None:
        self.trainer, self.config, self.key = trainer, config, key
        waiting = interventions.stopped(trainer.folder)
        if waiting is not None:
            raise Diverged(
                *(waiting[name] for name in ("what", "step", "value", "limit", "good_step"))
            )
        if trainer.saved_step < 0:
            trainer.save()  # so that there is a good checkpoint from the start
        given = interventions.answered(trainer.folder, self.resets)
        if given is not None:
            stop = interventions.read_stop(trainer.folder)
            self._back(stop, by=str(given["by"]), reason=str(given["reason"]))
        self.guard = Guard.after(config, trainer.state.setdefault("history", []))

    @property
    def events(self) -> list[dict[str, Any]]:
        """What happened to the run so far."""
        found: list[dict[str, Any]] = self.trainer.state.setdefault("events", [])
        return found

    @property
    def resets(self) -> int:
        """How often the run went on with fresh optimizer states."""
        return sum(event["event"] == "optimizer reinitialised" for event in self.events)

    def diverged(
        self, found: tuple[str, float, float], step: int, suspicious: int
    ) -> list[dict[str, float]]:
        """Back to the last good checkpoint; returns the history up to there, or raises Diverged.

        `suspicious` steps in a row, `step` the last of them, were not calm. A step's loss is that
        of the weights before it: the checkpoint just before the first of them is not a good one.
        """
        if self.trainer.rank == 0:
            checkpoint.drop_from(self.trainer.root, step - suspicious)
        runtime.first_decides(True, self.trainer.device)  # the others read what is left
        error = Diverged(found[0], step, found[1], found[2], self.trainer.saved_step)
        again = self.config.action == interventions.REINITIALIZE
        if not again or self.resets >= self.config.at_most:
            if self.trainer.rank == 0:
                record = {"key": self.key, **error.record()}
                interventions.stop(self.trainer.folder, record, self.resets + 1)
            raise error
        self._back(error.record(), by="recipe", reason=f"divergence.action is {self.config.action}")
        history: list[dict[str, float]] = self.trainer.state.setdefault("history", [])
        self.guard = Guard.after(self.config, history)
        return history

    def _back(self, record: Mapping[str, Any], by: str, reason: str) -> None:
        trainer = self.trainer
        trainer.rewind()
        self.events.append(dict(record))
        self.events.append(
            {"event": "optimizer reinitialised", "step": trainer.step, "by": by, "reason": reason}
        )
        trainer.save()
