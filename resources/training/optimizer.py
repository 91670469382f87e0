"""What an optimizer step uses: AdamW and its learning-rate schedule, as plain numbers.

The learning rate is a function of the step alone, so a resumed run needs no scheduler state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up, then a constant or cosine-decayed learning rate.

    `gradient_clipping` is the largest allowed global gradient norm; 0 turns clipping off.
    """

    learning_rate: float
    schedule: str = "constant"
    warmup_ratio: float = 0.0
    min_learning_rate: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clipping: float = 1.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; it must be one of {SCHEDULES}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be positive")
        if not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"warmup_ratio is {self.warmup_ratio}; it must be in [0, 1)")

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> OptimizerConfig:
        """The optimizer keys of a training section; its other keys are left alone."""
        known = {f.name for f in fields(cls)}
        given = {k: v for k, v in recipe.items() if k in known and v is not None}
        if "learning_rate" not in given:
            raise ValueError(f"training section has no learning_rate: {sorted(recipe)}")
        if "betas" in given:
            given["betas"] = (float(given["betas"][0]), float(given["betas"][1]))
        return cls(**given)

    def rate(self, step: int, total_steps: int) -> float:
        """Learning rate of the update that follows `step` completed ones.

        Warm-up rises linearly over the first `warmup_ratio` of the steps and reaches the full rate
        at its end; cosine then falls to `min_learning_rate` at the last step.
        """
        warmup = round(self.warmup_ratio * total_steps)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        if self.schedule == "constant":
            return self.learning_rate
        done = (step - warmup) / max(1, total_steps - 1 - warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.min_learning_rate + (self.learning_rate - self.min_learning_rate) * cosine

    def build(self, model: torch.nn.Module) -> torch.optim.AdamW:
        """AdamW over the trainable parameters; norms and biases (1-D) are not decayed."""
        trainable = [p for p in model.parameters() if p.requires_grad]
        if not trainable:
            raise ValueError("the model has no trainable parameters")
        groups = [
            {"params": [p for p in trainable if p.dim() > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            [g for g in groups if g["params"]],
            lr=self.learning_rate,
            betas=self.betas,
            eps=self.eps,
            fused=True,
        )
