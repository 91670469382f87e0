"""Activation checkpointing: a layer keeps its input alone and computes the rest again backward.

Wraps the layers of a model from outside; values and gradients stay the same to the bit. It knows
blocks, nothing of training.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from resources.models.blocks import Context, HeterogeneousDecoderBlock
from resources.models.modeling import decoders

Forward = Callable[[Tensor, Context], Tensor]


def wrap(model: nn.Module) -> None:
    """Let every layer of the model compute its insides again. ValueError where it has none."""
    found = blocks(model)
    if not found:
        raise ValueError(
            f"activation_checkpointing: {type(model).__name__} holds no decoder of ours, and other "
            "layers are not known"
        )
    for block in found:
        block.__dict__["forward"] = functools.partial(_again, block.forward)


def unwrap(model: nn.Module) -> None:
    """Undo `wrap`; nothing happens where it was not called."""
    for block in blocks(model):
        block.__dict__.pop("forward", None)


def blocks(model: nn.Module) -> list[HeterogeneousDecoderBlock]:
    """The layers of the model, in order."""
    return [layer for decoder in decoders(model) for layer in decoder.layers]


def _again(forward: Forward, hidden: Tensor, context: Context) -> Tensor:
    if not torch.is_grad_enabled():
        return forward(hidden, context)
    # A layer draws no random numbers, so their state need not be kept.
    found: Tensor = checkpoint(
        forward, hidden, context, use_reentrant=False, preserve_rng_state=False
    )
    return found
