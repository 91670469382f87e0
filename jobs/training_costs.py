"""What the training stages of a recipe take on the hardware it names: memory and device hours.

Part of `heirloom run --dry-run`. Closed forms alone (`resources/training/placement.py`); knows
recipes and sizes, needs no model and no GPU.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.console import open_console, plain_table
from resources.models import accounting
from resources.models.accounting import Shape
from resources.recipe.execution import Sizes
from resources.recipe.schema import Recipe
from resources.training import placement
from resources.training.placement import DoesNotFitError, Machine, Memory, Placement


@dataclass(frozen=True)
class Stage:
    """One training stage: tokens trained on, scored and sampled, and what it takes.

    `hours` are device hours of its arithmetic alone; `published` is what its recipe states for
    it; `refusal` says why it cannot run as placed (None: it fits).
    """

    key: str
    tokens: float
    flops: float
    hours: float
    memory: Memory
    refusal: str | None
    published: float | None


def training_costs(recipe: Recipe, keys: Collection[str] | None = None) -> list[Stage]:
    """The training stages of the models whose sizes the execution settings state, in order.

    Stages not among `keys` are left out (None: none are). Empty where no `hardware` is named.
    """
    settings = recipe.execution
    if settings.hardware is None:
        return []
    hardware = settings.hardware
    machine = Machine(hardware.name, hardware.memory_bytes, hardware.flops, hardware.mfu)
    found = []
    for name in recipe.models:
        if name not in settings.parents:
            continue
        for work in _works(recipe, name):
            if keys is None or work["key"] in keys:
                found.append(_stage(recipe, settings.parents[name], machine, **work))
    return found


def _works(recipe: Recipe, name: str) -> Iterator[dict[str, Any]]:
    """The arguments of `_stage` for each training stage of a model."""
    model, typical = recipe.models[name], recipe.execution.typical
    for stage, section in (
        ("distilled", model.distillation),
        ("continued", model.continued_pretraining),
    ):
        if section is not None:
            yield {
                "key": f"{name}/{stage}",
                "trained": section.tokens or 0,
                "length": section.sequence_length,
                "taught": stage == "distilled",
                "chunk": getattr(section, "chunk", None),
            }
    for part in model.sft:
        yield {
            "key": f"{name}/{part.name}",
            "trained": part.tokens or part.samples * (part.epochs or 1) * typical.example,
            "length": part.sequence_length,
        }
    for stage, rewarded in (("grpo", model.grpo), ("rloo", model.rloo)):
        if rewarded is not None:
            responses = rewarded.steps * rewarded.prompts_per_step * rewarded.samples
            yield {
                "key": f"{name}/{stage}",
                "trained": responses * typical.response_on,
                "length": rewarded.max_new_tokens,
                # Sampled once, then scored by the policy and by the reference.
                "forward": 3,
            }


def _stage(
    recipe: Recipe,
    sizes: Sizes,
    machine: Machine,
    *,
    key: str,
    trained: float,
    length: int,
    taught: bool = False,
    chunk: int | None = None,
    forward: int = 0,
) -> Stage:
    """A stage's cost; `forward` is how often each token also passes the model without training."""
    settings = recipe.execution
    assert settings.hardware is not None
    devices = settings.hardware.devices
    shape = _shape(sizes)
    parent = accounting.blocks_of(shape, [("full", "full")] * sizes.num_hidden_layers)
    blocks = searched(shape, parent, sizes.parameters)
    where = Placement(
        ranks=devices,
        zero_stage=settings.zero_stage,
        micro_tokens=settings.micro_batch * length,
        offload=settings.offload_optimizer,
        checkpointing=settings.activation_checkpointing,
        chunk=chunk,
        sequence_parallel=settings.sequence_parallel,
    )
    flops = placement.training_flops(
        shape, blocks, trained, length, checkpointing=where.checkpointing
    )
    flops += forward * accounting.forward_flops(shape, blocks, length) * trained / length
    teacher = 0
    if taught:
        teacher = accounting.total_parameters(shape, parent)
        flops += accounting.forward_flops(shape, parent, length) * trained / length
    refusal = None
    try:
        taken = placement.check(shape, blocks, where, machine, what=key, teacher_parameters=teacher)
    except DoesNotFitError as error:
        taken = placement.memory(shape, blocks, where, teacher_parameters=teacher)
        refusal = str(error)
    hours = placement.seconds(flops, machine, 1) / 3600
    published = settings.published_hours.get(key)
    return Stage(key, trained, flops, hours, taken, refusal, published)


def _shape(sizes: Sizes) -> Shape:
    """The shape in which blocks are counted."""
    return Shape.of(sizes.model_dump(exclude={"parameters", "num_hidden_layers"}))


def searched(
    shape: Shape, parent: Sequence[Mapping[str, Any]], parameters: int | None
) -> list[dict[str, Any]]:
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


def refuse_what_does_not_fit(recipe: Recipe, keys: Collection[str]) -> None:
    """Raises DoesNotFitError for the first training stage that cannot run as placed."""
    for stage in training_costs(recipe, keys):
        if stage.refusal:
            raise DoesNotFitError(stage.refusal)


def show_training_costs(recipe: Recipe, keys: Collection[str]) -> int:
    """Print a line a training stage, and why stages do not fit; 1 where one does not."""
    stages = training_costs(recipe, keys)
    if not stages:
        return 0
    hardware = recipe.execution.hardware
    assert hardware is not None
    table = plain_table("training stage")
    for name in ("tokens", "PFLOP", f"{hardware.name} hours", "published", "days", "GB a rank"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in stages:
        table.add_row(
            stage.key,
            f"{stage.tokens:,.0f}",
            f"{stage.flops / 1e15:,.0f}",
            f"{stage.hours:,.0f}",
            f"{stage.published:,.0f}" if stage.published else "",
            f"{stage.hours / hardware.devices / 24:,.1f}",
            f"{stage.memory.total / 1e9:,.1f}" + (" too many" if stage.refusal else ""),
        )
    open_console().print(table)
    print(
        f"On {hardware.devices} x {hardware.name} ({hardware.memory_bytes / 1e9:,.0f} GB), "
        f"arithmetic alone at {hardware.mfu:.0%} of {hardware.flops / 1e12:,.0f} TFLOP/s; sampling "
        "is slower than that by as much as it waits for memory."
    )
    refusals = [stage.refusal for stage in stages if stage.refusal]
    for refusal in refusals:
        print(f"does not fit: {refusal}")
    return 1 if refusals else 0
