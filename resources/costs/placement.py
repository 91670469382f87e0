"""What a training stage takes before it runs: bytes a rank, operations, GPU hours; and what fits.

Closed forms over a model's shape and a placement (ranks, ZeRO stage, offload, checkpointing). The
loop keeps weights, gradients and AdamW's moments in float32 and computes under bfloat16 autocast
on GPUs, and the forms count exactly that. Knows shapes and machines; starts nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.models import accounting
from resources.models.accounting import Shape

WEIGHT, GRADIENT, MOMENTS = 4, 4, 8  # bytes a parameter, float32
SLACK = 0.92  # of a device's memory; the rest is the allocator's, the libraries' and the context's


@dataclass(frozen=True)
class Machine:
    """The device a plan is for: memory in bytes, peak operations a second, share reached."""

    name: str
    memory_bytes: float
    flops: float
    mfu: float


@dataclass(frozen=True)
class Placement:
    """How a stage is spread: `ranks` data-parallel processes, `micro_tokens` a forward pass.

    `offload` keeps the optimizer's moments in host memory; `checkpointing` keeps the layers'
    inputs alone and computes the rest again; `chunk` is how many tokens' logits are held at once,
    where the stage can do that at all (`chunks`).
    `sequence_parallel` ranks share one micro-batch's tokens.
    """

    ranks: int = 1
    zero_stage: int = 0
    micro_tokens: int = 8192
    offload: bool = False
    checkpointing: bool = False
    chunk: int | None = None
    chunks: bool = True
    compute_bytes: int = 2
    sequence_parallel: int = 1


@dataclass(frozen=True)
class Memory:
    """Peak bytes on one rank, by what holds them."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    teacher: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(dataclasses.astuple(self))


class DoesNotFitError(ValueError):
    """A stage cannot run as placed; the message says by how much and which change would do."""


def memory(
    shape: Shape,
    blocks: Sequence[Mapping[str, Any]],
    placement: Placement,
    *,
    teacher_parameters: float = 0,
) -> Memory:
    """Peak bytes a rank of a training step.

    ZeRO 1 shards the moments over the ranks, 2 the gradients too, 3 the weights too (one layer is
    then gathered whole, and the next one ahead of it). A teacher is held in compute precision,
    sharded when the weights are.
    """
    count = accounting.total_parameters(shape, blocks)
    largest = max(
        (accounting.block_parameters(shape, b["attention"], b["ffn"]) for b in blocks), default=0
    )
    shards = [placement.ranks if placement.zero_stage >= stage else 1 for stage in (3, 2, 1)]
    gathered = 2 * largest * WEIGHT if placement.zero_stage == 3 else 0
    tokens = math.ceil(placement.micro_tokens / placement.sequence_parallel)
    held = min(tokens, placement.chunk or tokens)
    # Float32 logits, their gradient and the softmax in between; a teacher's logits beside them.
    copies = 4 if teacher_parameters else 3
    layers = [_layer_activations(shape, block, tokens, placement.compute_bytes) for block in blocks]
    kept = 4 * shape.hidden_size * tokens
    activations = (
        kept * len(blocks) + max(layers, default=0) if placement.checkpointing else sum(layers)
    )
    return Memory(
        weights=count * WEIGHT / shards[0] + gathered,
        gradients=count * GRADIENT / shards[1],
        optimizer=0.0 if placement.offload else count * MOMENTS / shards[2],
        activations=float(activations),
        logits=float(copies * 4 * held * shape.vocab_size),
        teacher=teacher_parameters * placement.compute_bytes / shards[0],
    )


def _layer_activations(
    shape: Shape, block: Mapping[str, Any], tokens: int, compute_bytes: int
) -> float:
    """Bytes that a layer's backward pass needs: its inputs in float32, the rest as computed."""
    attention, ffn = block["attention"], block["ffn"]
    hidden = shape.hidden_size
    width, residuals = 0, 0
    if attention["kind"] != "noop":
        residuals += 1
        queries = shape.num_attention_heads * shape.head_dim
        keys = (attention["num_key_value_heads"] or 0) * shape.head_dim
        # Normed input, queries and keys before and after rotation, values, attention's output.
        width += hidden + (3 * queries + 3 * keys if attention["kind"] == "full" else 0)
    if ffn["kind"] != "noop":
        residuals += 1
        # Normed input, gate, up, activated gate and their product.
        width += hidden + 4 * (ffn["intermediate_size"] or 0)
    return tokens * (4 * hidden * residuals + compute_bytes * width)


def training_flops(
    shape: Shape,
    blocks: Sequence[Mapping[str, Any]],
    tokens: float,
    sequence_length: int,
    *,
    checkpointing: bool = False,
) -> float:
    """Operations to train on `tokens`: a forward and twice as much backward, once more forward
    with checkpointing."""
    once = accounting.forward_flops(shape, blocks, sequence_length)
    return (4 if checkpointing else 3) * once * tokens / sequence_length


def seconds(flops: float, machine: Machine, ranks: int) -> float:
    """Wall-clock seconds on `ranks` devices."""
    return flops / (machine.flops * machine.mfu * ranks)


def check(
    shape: Shape,
    blocks: Sequence[Mapping[str, Any]],
    placement: Placement,
    machine: Machine,
    *,
    what: str,
    teacher_parameters: float = 0,
) -> Memory:
    """The stage's memory, if it fits.

    Raises:
        DoesNotFitError: it does not; the message names the smallest change that would do.
    """

    def measured(candidate: Placement) -> Memory:
        return memory(shape, blocks, candidate, teacher_parameters=teacher_parameters)

    room = machine.memory_bytes * SLACK
    found = measured(placement)
    if found.total <= room:
        return found
    change = next(
        (text for text, other in changes(placement) if measured(other).total <= room), None
    )
    largest = max(dataclasses.asdict(found).items(), key=lambda item: item[1])
    raise DoesNotFitError(
        f"{what} needs {found.total / 1e9:,.1f} GB a rank on {placement.ranks} x {machine.name} "
        f"({machine.memory_bytes / 1e9:,.0f} GB, {SLACK:.0%} usable); most of it, "
        f"{largest[1] / 1e9:,.1f} GB, for {largest[0]}. "
        + (f"It would fit with {change}." if change else "No placement this plan knows would fit.")
    )


def changes(placement: Placement) -> Iterator[tuple[str, Placement]]:
    """Other placements from the smallest change on: one setting, then settings together, then
    more ranks."""
    replace = dataclasses.replace
    single: list[tuple[str, Placement]] = []
    if placement.chunks and placement.chunk is None:
        single.append(("logits in chunks of 1024 tokens", replace(placement, chunk=1024)))
    if not placement.checkpointing:
        single.append(("activation checkpointing", replace(placement, checkpointing=True)))
    single += [
        (f"zero_stage {stage}", replace(placement, zero_stage=stage))
        for stage in range(placement.zero_stage + 1, 4)
    ]
    if not placement.offload:
        # DeepSpeed offloads what it shards: stage 0 has nothing of the kind.
        sharded = "" if placement.zero_stage else "zero_stage 1 and "
        other = replace(placement, offload=True, zero_stage=max(1, placement.zero_stage))
        single.append((f"{sharded}the optimizer offloaded to the host", other))
    yield from single
    chunk = placement.chunk or (1024 if placement.chunks else None)
    together = replace(placement, chunk=chunk, checkpointing=True, zero_stage=3)
    names = "zero_stage 3 and activation checkpointing"
    if placement.chunks:
        names = f"zero_stage 3, activation checkpointing and logits in chunks of {chunk} tokens"
    if together != placement:
        yield names, together
        yield f"{names}, the optimizer offloaded", replace(together, offload=True)
    ranks = placement.ranks
    while ranks < 65536:
        ranks *= 2
        yield f"{ranks} ranks, {names}", replace(together, ranks=ranks)
