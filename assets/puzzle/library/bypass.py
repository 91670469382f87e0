"""Blockwise local distillation (bypass): sub-blocks learn their parent block's output, one by one.

Every child sees the parent's input to its layer and is compared with the parent block's output, and
no gradient leaves the layer (Puzzle, arXiv 2411.19146 §2). In the decoupled form an attention child
keeps the parent's FFN behind it, an FFN child the parent's attention before it; in the coupled form
a pair of variants is one child, a whole block. Knows tensors and sub-blocks; knows nothing of
files, recipes or where activations come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from assets.puzzle.halves import ATTENTION, FFN, PAIR, half_of
from resources.models.blocks import Context
from resources.models.config import HeterogeneousDecoderConfig
from resources.recipe.sections.base import Optimizer
from resources.training.checkpoint import flatten_optimizer, restore_optimizer
from resources.training.loop.optimizer import adamw, rate

SMALLEST_NORM = 1e-12  # of a target, so that an all-zero one divides by something


@dataclass(frozen=True)
class Child:
    """A sub-block in training: its place, its name, its weights and how they were initialised."""

    layer: int
    kind: str
    variant: str
    module: nn.Module
    initialised: str

    @property
    def name(self) -> str:
        """How metrics call it: `layer_3/attention_kv_1`."""
        return f"layer_{self.layer}/{self.kind}_{self.variant}"


@dataclass(frozen=True)
class Lesson:
    """What the parent's block makes of a micro-batch, all `[n, T, H]`.

    `hidden` enters the layer, `attended` lies between its halves, `target` leaves it; `ffn` is the
    parent's FFN half.
    """

    hidden: torch.Tensor
    attended: torch.Tensor
    target: torch.Tensor
    ffn: nn.Module
    context: Context

    @classmethod
    def of(
        cls,
        config: HeterogeneousDecoderConfig,
        block: nn.Module,
        hidden: torch.Tensor,
        context: Context,
    ) -> Lesson:
        """Runs the parent's block once, for all children of the layer."""
        attention, ffn = (half_of(config, block, kind) for kind in (ATTENTION, FFN))
        with torch.no_grad():
            attended = attention(hidden, context)
            return cls(hidden, attended, ffn(attended, context), ffn, context)

    @property
    def norm(self) -> torch.Tensor:
        """‖target‖²."""
        return self.target.square().sum()

    def error(self, child: Child) -> torch.Tensor:
        """‖output - target‖² of the layer with the child in it."""
        if child.kind == PAIR:
            output = child.module(self.hidden, self.context)
        elif child.kind == ATTENTION:
            output = self.ffn(child.module(self.hidden, self.context), self.context)
        else:
            output = child.module(self.attended, self.context)
        return (output - self.target).square().sum()


@torch.no_grad()
def errors(children: Sequence[Child], lesson: Lesson) -> tuple[torch.Tensor, torch.Tensor]:
    """Each child's ‖output - target‖² `[children]`, and ‖target‖²."""
    return torch.stack([lesson.error(child) for child in children]), lesson.norm


def normalised(parts: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> np.ndarray:
    """Each child's normalised MSE over a batch, float64, from the `errors` of its micro-batches."""
    total = torch.stack([error for error, _ in parts]).sum(0)
    norm = torch.stack([norm for _, norm in parts]).sum().clamp_min(SMALLEST_NORM)
    return np.array((total / norm).tolist())


class LayerTraining:
    """The children of one layer in training, together and each as if alone.

    One AdamW holds them all; since no loss depends on two children and gradients are clipped child
    by child, each trains exactly as it would by itself. `history` `[steps, children]` holds the
    loss of each step, `step` counts those done.
    """

    def __init__(self, children: Sequence[Child], optimizer: Optimizer, steps: int) -> None:
        """Children (at least one) with their initial weights."""
        self.children = list(children)
        self.optimizer = optimizer
        self.steps = steps
        self.step = 0
        self.history = np.zeros((steps, len(self.children)))
        modules = nn.ModuleList([child.module for child in self.children])
        self._adamw = adamw(optimizer, modules.requires_grad_(True).train())
        self._losses: list[torch.Tensor] = []
        self._norms: list[torch.Tensor] = []

    def learn(self, lesson: Lesson, *, first: bool = True, last: bool = True) -> None:
        """Takes a micro-batch of a step; the last one ends with the optimizer's update.

        The loss of a step is Σ‖output - target‖² / Σ‖target‖² over its micro-batches. Gradients are
        taken with the first micro-batch's norm and put right at the end, when the sum is known.

        Raises:
            FloatingPointError: a loss became NaN or infinite; the message names the child.
        """
        if first:
            self._adamw.zero_grad(set_to_none=True)
            self._losses, self._norms = [], []
        self._norms.append(lesson.norm)
        scale = self._norms[0].clamp_min(SMALLEST_NORM)
        parts = []
        with torch.enable_grad():
            for child in self.children:
                # One graph is held at a time: backward frees it before the next is made.
                loss = lesson.error(child) / scale
                loss.backward()
                parts.append(loss.detach())
        self._losses.append(torch.stack(parts))
        if last:
            self._update(scale)

    def _update(self, scale: torch.Tensor) -> None:
        losses = torch.stack(self._losses).sum(0)
        right = scale / torch.stack(self._norms).sum().clamp_min(SMALLEST_NORM)
        for group in self._adamw.param_groups:
            group["lr"] = rate(self.optimizer, self.step, self.steps)
        for child in self.children:
            parameters = list(child.module.parameters())
            if len(self._norms) > 1:
                for parameter in parameters:
                    if parameter.grad is not None:
                        parameter.grad *= right
            if self.optimizer.gradient_clipping:
                nn.utils.clip_grad_norm_(parameters, self.optimizer.gradient_clipping)
        self._adamw.step()
        self.history[self.step] = (losses * right).tolist()
        bad = np.flatnonzero(~np.isfinite(self.history[self.step]))
        if bad.size:
            raise FloatingPointError(
                f"{self.children[bad[0]].name}: loss is {self.history[self.step][bad[0]]} at step "
                f"{self.step}; lower the library's learning_rate"
            )
        self.step += 1

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """AdamW's moments and step counts; with the weights, all that training goes on from."""
        return flatten_optimizer(self._adamw)

    def restore(self, step: int, history: np.ndarray, moments: Mapping[str, torch.Tensor]) -> None:
        """Goes on after `step` steps; the children hold the weights of then already."""
        self.step, self.history = step, history
        restore_optimizer(self._adamw, moments)
