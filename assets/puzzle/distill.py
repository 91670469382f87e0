"""Blockwise local distillation (bypass): sub-blocks learn their parent block's output, one by one.

Every child sees the parent's input to its layer and is compared with the parent block's output; a
resident parent makes both, and no gradient leaves the layer (Puzzle, arXiv 2411.19146 §2). The form
is decoupled: an attention child keeps the parent's FFN behind it, an FFN child the parent's
attention before it. Knows tensors and sub-blocks; knows nothing of files or recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from assets.puzzle.calibration import Sequences
from assets.puzzle.halves import ATTENTION, FFN, parent_half
from resources.models.modeling import HeterogeneousLlamaForCausalLM
from resources.training.optimizer import OptimizerConfig

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


def normalised_mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """‖output - target‖² / ‖target‖² over the whole batch: 0 when equal, 1 for an output of 0."""
    return (output - target).square().sum() / target.square().sum().clamp_min(SMALLEST_NORM)


def losses(
    parent: HeterogeneousLlamaForCausalLM, children: Sequence[Child], batch: Sequences
) -> Iterator[tuple[Child, torch.Tensor]]:
    """Each child with its loss on a batch, layer by layer; the parent runs once for all of them.

    Use one loss before asking for the next: its graph is the only one held.
    """
    by_layer: dict[int, list[Child]] = {}
    for child in children:
        by_layer.setdefault(child.layer, []).append(child)
    with torch.no_grad():
        hidden, context = batch.context(parent)
    for layer in range(max(by_layer, default=-1) + 1):
        attention, ffn = (parent_half(parent, layer, kind) for kind in (ATTENTION, FFN))
        with torch.no_grad():
            attended = attention(hidden, context)
            target = ffn(attended, context)
        for child in by_layer.get(layer, ()):
            if child.kind == ATTENTION:
                output = ffn(child.module(hidden, context), context)
            else:
                output = child.module(attended, context)
            yield child, normalised_mse(output, target)
        hidden = target


@torch.no_grad()
def evaluate(
    parent: HeterogeneousLlamaForCausalLM, children: Sequence[Child], batch: Sequences
) -> dict[str, float]:
    """Each child's loss on a batch, by name (children of the same name must not meet)."""
    return {child.name: float(loss) for child, loss in losses(parent, children, batch)}


def train_children(
    parent: HeterogeneousLlamaForCausalLM,
    children: Sequence[Child],
    batch_of: Callable[[int], Sequences],
    steps: int,
    optimizer: OptimizerConfig,
    on_step: Callable[[int], Any] | None = None,
) -> np.ndarray:
    """Trains all children together, each as if alone, and returns losses `[steps, children]`.

    One AdamW holds them all; since no loss depends on two children and gradients are clipped child
    by child, each trains exactly as it would by itself.

    Raises:
        FloatingPointError: a loss became NaN or infinite; the message names the child.
    """
    parent.requires_grad_(False)
    modules = nn.ModuleList([child.module for child in children]).requires_grad_(True).train()
    history = np.zeros((steps, len(children)))
    if not children or not steps:
        return history
    adamw = optimizer.build(modules)
    places = {id(child): place for place, child in enumerate(children)}
    parameters = [list(child.module.parameters()) for child in children]
    for step in range(steps):
        for group in adamw.param_groups:
            group["lr"] = optimizer.rate(step, steps)
        adamw.zero_grad(set_to_none=True)
        values: list[torch.Tensor | None] = [None] * len(children)
        for child, loss in losses(parent, children, batch_of(step)):
            loss.backward()
            values[places[id(child)]] = loss.detach()
        if optimizer.gradient_clipping:
            for group_parameters in parameters:
                nn.utils.clip_grad_norm_(group_parameters, optimizer.gradient_clipping)
        adamw.step()
        history[step] = torch.stack([value for value in values if value is not None]).tolist()
        bad = np.flatnonzero(~np.isfinite(history[step]))
        if bad.size:
            raise FloatingPointError(
                f"{children[bad[0]].name}: loss is {history[step][bad[0]]} at step {step}; "
                "lower the library's learning_rate"
            )
        if on_step is not None:
            on_step(step)
    modules.eval().requires_grad_(False)
    return history
