"""The divergence guard: tells an exploding run from a noisy one, from loss and gradient norm.

Plain numbers in, a verdict out; what is done about it is the loop's. LN-Ultra's SFT exploded after
its first epoch and went on with fresh optimizer states (arXiv 2505.00949 §4).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resources.recipe.sections.base import Divergence


class Diverged(RuntimeError):
    """A run stopped: its loss or gradient exploded at `step`; `good` is the last good checkpoint.

    `good` counts completed optimizer steps; nothing after it is kept.
    """

    def __init__(self, what: str, step: int, value: float, limit: float, good: int) -> None:
        super().__init__(
            f"training diverged at optimizer step {step}: {what} is {value:.4g}, the limit was "
            f"{limit:.4g}; stopped at the checkpoint of step {good}. Lower the learning rate, or "
            "go on from it with `heirloom resume KEY --reinitialize-optimizer --reason …`"
        )
        self.what, self.step, self.value, self.limit, self.good = what, step, value, limit, good

    def record(self) -> dict[str, Any]:
        """What is written beside the checkpoint and into `training_events`."""
        return {
            "event": "diverged",
            "step": self.step,
            "what": self.what,
            "value": self.value,
            "limit": self.limit,
            "good_step": self.good,
        }


@dataclass
class Guard:
    """Follows one run; its memory is the run's own history, so that a resume judges alike."""

    config: Divergence
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    suspicious: int = 0

    @property
    def calm(self) -> bool:
        """Whether the last step was unsuspicious: only then is a checkpoint a good one."""
        return self.suspicious == 0

    def judge(self, loss: float, norm: float) -> tuple[str, float, float] | None:
        """What exploded with its value and limit, or None. Call once a step, in order."""
        config = self.config
        found: tuple[str, float, float] | None = None
        if len(self.losses) >= config.settle:
            limits = (
                ("the gradient norm", norm, config.gradient_norm * statistics.median(self.norms)),
                ("the loss", loss, config.loss + statistics.median(self.losses)),
            )
            found = next((each for each in limits if not each[1] <= each[2]), None)
        elif not (math.isfinite(loss) and math.isfinite(norm)):
            found = ("the loss" if not math.isfinite(loss) else "the gradient norm", loss, math.inf)
        if found is None:
            self.suspicious = 0
            self.losses = [*self.losses, loss][-config.window :]
            self.norms = [*self.norms, norm][-config.window :]
            return None
        self.suspicious += 1
        gone = not (math.isfinite(loss) and math.isfinite(norm))
        return found if gone or self.suspicious >= config.patience else None

    @classmethod
    def after(cls, config: Divergence, history: list[dict[str, float]]) -> Guard:
        """The guard as it stands after the given steps of a run."""
        guard = cls(config)
        for record in history:
            guard.judge(record["loss"], record["gradient_norm"])
        return guard
