"""What a model's training stages take: tokens, operations, bytes a rank, hours, and what fits.

From sizes and settings alone, for the asset `<model>/training_plan` and for the dry run alike. It
knows neither recipes nor files: `resources/costs/workload.py` says what the stages train on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from resources.costs import placement
from resources.costs.placement import DoesNotFitError, Machine, Memory, Placement
from resources.models import accounting
from resources.models.accounting import Shape
from resources.models.precision import BFLOAT16, Precision
from resources.recipe.sections.effort import Work

Blocks = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Settings:
    """The execution settings that place a model's stages; `machine` is the one planned for.

    `ranks` is how many processes train. `teacher_apart`: the teacher is on another device.
    `published` holds the hours that are known of a stage.
    """

    device: str
    ranks: int
    zero_stage: int
    micro_batch: int
    offload_optimizer: bool = False
    activation_checkpointing: bool = False
    sequence_parallel: int = 1
    teacher_apart: bool = False
    machine: Machine | None = None
    published: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """The settings that `dataclasses.asdict` wrote."""
        machine = values["machine"]
        return cls(**{**values, "machine": machine and Machine(**machine)})


@dataclass(frozen=True)
class Sizes:
    """The trained model's blocks and its parent's, as `block_configs`, in one shape."""

    shape: Shape
    blocks: Blocks
    parent: Blocks

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "shape": self.shape.record(),
            "blocks": list(self.blocks),
            "parent": list(self.parent),
        }


@dataclass(frozen=True)
class Stage:
    """One training stage: tokens trained on, scored and sampled, and what it takes.

    `hours` are device hours of its arithmetic alone on the machine planned for (None: no machine);
    `published` is what its recipe states for it; `refusal` says why it cannot run as placed (None:
    it fits, or nothing says into what).
    """

    key: str
    tokens: int
    flops: float
    hours: float | None
    memory: Memory
    refusal: str | None
    published: float | None
    placement: Placement


def plan(model: str, works: Sequence[Work], sizes: Sizes, settings: Settings) -> list[Stage]:
    """What each of a model's stages takes, in their order."""
    return [_stage(f"{model}/{work.stage}", work, sizes, settings) for work in works]


def micro_tokens(work: Work, settings: Settings) -> int:
    """Tokens of a micro-batch: `micro_batch` sequences, no more than a step has."""
    return min(settings.micro_batch * work.length, work.batch_tokens)


def _stage(key: str, work: Work, sizes: Sizes, settings: Settings) -> Stage:
    shape, machine = sizes.shape, settings.machine
    where = Placement(
        ranks=settings.ranks,
        zero_stage=settings.zero_stage,
        micro_tokens=micro_tokens(work, settings),
        offload=settings.offload_optimizer,
        checkpointing=settings.activation_checkpointing,
        chunk=work.chunk,
        chunks=work.chunks,
        compute_bytes=2 if Precision(work.dtype, settings.device).training == BFLOAT16 else 4,
        sequence_parallel=settings.sequence_parallel,
    )
    flops = placement.training_flops(
        shape, sizes.blocks, work.tokens, work.length, checkpointing=where.checkpointing
    )
    once = work.tokens / work.length
    flops += work.forward * accounting.forward_flops(shape, sizes.blocks, work.length) * once
    teacher = 0
    if work.taught:
        flops += accounting.forward_flops(shape, sizes.parent, work.length) * once
        if not settings.teacher_apart:
            teacher = accounting.total_parameters(shape, sizes.parent)
    taken = placement.memory(shape, sizes.blocks, where, teacher_parameters=teacher)
    refusal = hours = None
    if machine is not None:
        hours = placement.seconds(flops, machine, 1) / 3600
        try:
            placement.check(
                shape, sizes.blocks, where, machine, what=key, teacher_parameters=teacher
            )
        except DoesNotFitError as error:
            refusal = str(error)
    published = settings.published.get(work.stage)
    return Stage(key, work.tokens, flops, hours, taken, refusal, published, where)


def narrowed(shape: Shape, parent: Blocks, parameters: int | None) -> list[dict[str, Any]]:
    """Blocks of a child with so many parameters: the parent's, FFNs narrowed evenly.

    A stand-in for an architecture that is not searched yet: parameters, and with them almost all
    of the training arithmetic, are right; where the search would put them is not known.

    Raises:
        ValueError: more parameters than the parent has, or fewer than without any FFN.
    """
    blocks = [dict(block) for block in parent]
    if parameters is None:
        return blocks
    spare = accounting.total_parameters(shape, parent) - parameters
    width = shape.intermediate_size - round(spare / (3 * shape.hidden_size * len(blocks)))
    if spare < 0 or width < 1:
        raise ValueError(
            f"{parameters:,} parameters cannot come from narrower FFNs of a parent with "
            f"{accounting.total_parameters(shape, parent):,}"
        )
    return [{**b, "ffn": {**b["ffn"], "intermediate_size": width}} for b in blocks]


def searched(shape: Shape, layers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Blocks of a searched model, from the rows of its `architectures` table in layer order.

    Consecutive rows with one `fused_into` are one layer, as wide as their FFNs together.
    """
    named = accounting.blocks_of(shape, [(row["attention"], row["ffn"]) for row in layers])
    blocks: list[Mapping[str, Any]] = []
    rows = zip(named, (row["fused_into"] for row in layers), strict=True)
    for into, run in groupby(rows, key=lambda pair: pair[1]):
        members = [block for block, _ in run]
        if into is None or len(members) == 1:
            blocks += members
            continue
        width = sum(block["ffn"]["intermediate_size"] or 0 for block in members)
        blocks.append({**members[0], "ffn": {"kind": "full", "intermediate_size": width}})
    return blocks


def widest(shape: Shape, blocks: Blocks) -> Mapping[str, Any]:
    """The block with the most parameters, the first of equal ones."""
    return max(blocks, key=lambda b: accounting.block_parameters(shape, b["attention"], b["ffn"]))
