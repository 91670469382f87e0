"""What an optimizer step uses: AdamW and its learning-rate schedule, by a recipe's section.

The learning rate is a function of the step alone, so a resumed run needs no scheduler state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from resources.recipe.sections.base import Optimizer

EPSILON = 1e-8  # AdamW's


def rate(section: Optimizer, step: int, total_steps: int) -> float:
    """Learning rate of the update that follows `step` completed ones.

    Warm-up rises linearly over the first `warmup_ratio` of the steps and reaches the full rate
    at its end; cosine then falls to `min_learning_rate` at the last step.
    """
    warmup = round(section.warmup_ratio * total_steps)
    if step < warmup:
        return section.learning_rate * (step + 1) / warmup
    if section.schedule == "constant":
        return section.learning_rate
    done = (step - warmup) / max(1, total_steps - 1 - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return section.min_learning_rate + (section.learning_rate - section.min_learning_rate) * cosine


def adamw(section: Optimizer, model: torch.nn.Module) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; norms and biases (1-D) are not decayed."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("the model has no trainable parameters")
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": section.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=section.learning_rate,
        betas=(section.betas[0], section.betas[1]),
        eps=EPSILON,
        fused=True,
    )
