"""How fast this machine trains: operations a second of one layer's optimizer step.

A layer of the model's sizes with random weights goes forward, backward and through AdamW in the
precision that training uses here. Knows layers and clocks; knows no stages and no recipe.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from resources.machine import free_bytes
from resources.models import accounting
from resources.models.accounting import Shape
from resources.models.blocks import (
    Context,
    HeterogeneousDecoderBlock,
    make_context,
    rotary_embedding,
)
from resources.models.config import HeterogeneousDecoderConfig

REPEATS = 5  # steps that the median is taken of,
ENOUGH = 0.4  # fewer once they took so many seconds
OPERATIONS = {"cpu": 1e9, "cuda": 2e13}  # of a timed step at most: a fraction of a second
STATE = 16  # bytes a parameter: weight, gradient and both moments in float32
ROOM = 0.5  # of the device's free memory that a layer's states may take


class PaceError(RuntimeError):
    """A step cannot be timed here; the message says why."""


@dataclass(frozen=True)
class Pace:
    """Operations a second that a step reached, on `tokens` in sequences of `length`."""

    flops_per_second: float
    tokens: int
    length: int


def measure(
    config: HeterogeneousDecoderConfig,
    block: Mapping[str, Any],
    tokens: int,
    length: int,
    device: str,
) -> Pace:
    """The median pace of a few steps on `tokens` tokens, or on fewer where they would take long.

    Operations are those of the closed form (`accounting.block_flops`), backward twice the forward.

    Raises:
        PaceError: the device is not here, or the layer does not fit into it.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise PaceError("no GPU that torch can use is here")
    shape, where = Shape.of(config.to_dict()), torch.device(device)
    parameters = accounting.block_parameters(shape, block["attention"], block["ffn"])
    room = ROOM * free_bytes(where)
    if STATE * parameters > room:
        raise PaceError(
            f"a layer's states take {STATE * parameters / 1e9:,.1f} GB, {ROOM:.0%} of what "
            f"{device} has free are {room / 1e9:,.1f} GB"
        )
    sequences, length = scaled(shape, block, max(1, tokens // length), length, OPERATIONS[device])
    draw = torch.Generator(where).manual_seed(0)
    layer = _layer(config, block, where, draw)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-4, fused=True)
    ids = torch.zeros(sequences, length, dtype=torch.long, device=where)
    size = (sequences, length, config.hidden_size)
    hidden = torch.randn(size, generator=draw, device=where).requires_grad_()
    context = make_context(rotary_embedding(config, where), hidden, ids)

    def step() -> None:
        _forward(layer, hidden, context, where).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        hidden.grad = None

    flops = operations(shape, block, sequences, length)
    _seconds(step, where)  # the first one allocates
    seconds = [_seconds(step, where)]
    while len(seconds) < REPEATS and sum(seconds) < ENOUGH:
        seconds.append(_seconds(step, where))
    return Pace(flops / statistics.median(seconds), sequences * length, length)


def operations(shape: Shape, block: Mapping[str, Any], sequences: int, length: int) -> int:
    """Operations of a training step of one layer."""
    return 3 * sequences * accounting.block_flops(shape, block["attention"], block["ffn"], length)


def scaled(
    shape: Shape, block: Mapping[str, Any], sequences: int, length: int, most: float
) -> tuple[int, int]:
    """Sequences and their length, halved until a step has at most `most` operations; fewer
    sequences first, then shorter ones, of 16 tokens at least."""
    while operations(shape, block, sequences, length) > most and sequences > 1:
        sequences = (sequences + 1) // 2
    while operations(shape, block, sequences, length) > most and length > 16:
        length = max(16, length // 2)
    return sequences, length


def _layer(
    config: HeterogeneousDecoderConfig,
    block: Mapping[str, Any],
    where: torch.device,
    draw: torch.Generator,
) -> HeterogeneousDecoderBlock:
    with torch.device("meta"):
        layer = HeterogeneousDecoderBlock(config, dict(block), 0)
    layer = layer.float().to_empty(device=where)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if name.endswith("layernorm.weight"):
                weight.fill_(1.0)
            else:
                weight.normal_(0.0, config.initializer_range, generator=draw)
    return layer.train()


def _forward(
    layer: HeterogeneousDecoderBlock, hidden: torch.Tensor, context: Context, where: torch.device
) -> torch.Tensor:
    with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
        out: torch.Tensor = layer(hidden, context)
    return out


def _seconds(step: Callable[[], None], where: torch.device) -> float:
    began = time.perf_counter()
    step()
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return time.perf_counter() - began
