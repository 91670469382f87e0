"""The machine: where each training stage runs and whether it fits, engines, isolated programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.checks.asked import Asked, Finding
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import Computed, Section
from resources.recipe.tree import KeyPath

if TYPE_CHECKING:
    from jobs.planning.training_costs import Known
from resources.verifiers.programs import sandbox


def placement(asked: Asked) -> Iterator[Finding]:
    """Stage, processes x devices, bytes a rank and hours; a stage that does not fit, or more
    devices planned than the launch starts."""
    from jobs.planning.training_costs import one_process, training_costs

    execution = asked.recipe.execution
    started, hardware = execution.processes, execution.hardware
    if hardware is not None and hardware.devices != started:
        yield asked.fault(
            ("execution", "hardware", "devices"),
            f"{hardware.devices} devices are planned for; processes that are started: {started}",
            "start as many: execution.ranks on each of execution.hosts",
        )
    if execution.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            what = "device is cuda, and this machine has none"
            remedy = "run it where there is one, or say device: cpu"
            yield asked.fault(("execution", "device"), what, remedy, stops=False)
    for why in one_process(asked.recipe).values():
        yield asked.fault(("execution", "ranks"), why, stops=False)
    for stage in training_costs(asked.recipe, known=_sizes(asked)):
        if stage.refusal:
            yield asked.fault(("execution",), stage.refusal)
        hours = "" if stage.hours is None else f", {stage.hours:,.0f} device hours"
        devices = hardware.devices if hardware else started
        yield (
            f"{stage.key}: {devices} x {hardware.name if hardware else execution.device}, "
            f"{stage.memory.total / 1e9:,.1f} GB a rank{hours}"
        )


def precision(asked: Asked) -> Iterator[Finding]:
    """What is to be computed in a type that the device cannot compute in."""
    from resources.models.precision import cannot

    for keys, dtype in computed(asked.recipe):
        why = cannot(dtype, asked.recipe.execution.device)
        if why is not None:
            yield asked.fault(keys, why)


def computed(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """Where the recipe says what is computed in, and what it says."""
    for name, model in recipe.models.items():
        yield from _computed(model, ("models", name))
    yield from _computed(recipe.family, ())


def _computed(value: Any, keys: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, Computed) and value.dtype is not None:
        yield (*keys, "dtype"), value.dtype
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Section):
        inside = ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for name, each in inside:
        beside = isinstance(value, Section) and value.parts and name in value.parts
        yield from _computed(each, keys if beside else (*keys, name))


def _sizes(asked: Asked) -> dict[str, Known]:
    """The sizes of parents whose folders are at hand, each with a child within its limit."""
    from jobs.planning.training_costs import Known
    from resources.costs.planning import Sizes, narrowed
    from resources.models import accounting
    from resources.models.errors import CheckpointError
    from resources.models.families.registry import convert
    from resources.pretrained.checking import read_json

    found = {}
    for name, model in asked.recipe.models.items():
        source = asked.recipe.parent_source(model.parent)
        file = Path(source.location) / "config.json"
        if source.kind != "folder" or not file.is_file():
            continue
        try:
            config = convert(read_json(file, ""))
            shape = accounting.Shape.of(config)
            parent = accounting.blocks_of(shape, [("full", "full")] * config["num_hidden_layers"])
            share = model.puzzle.search.limits.get("parameters") if model.puzzle else None
            whole = accounting.total_parameters(shape, parent)
            wanted = round(whole * share) if isinstance(share, float) else None
            sizes = Sizes(shape, narrowed(shape, parent, wanted), parent)
        except (CheckpointError, KeyError, TypeError, ValueError):
            continue  # what is wrong with a parent is said with the parents
        found[name] = Known(sizes, {}, "", 1, False)
    return found


def isolation(asked: Asked) -> Iterator[Finding]:
    """Whether programs can be run apart from this machine, where the recipe judges any."""
    from jobs.planning.programs import OVERRIDE, REMEDY, missing

    family = asked.recipe.family
    if "code" not in family.problems:
        return
    if family.programs != "run":
        yield f"no program is run ({OVERRIDE}): verdicts on code are unknown"
        return
    why = missing()
    if why is None:
        yield f"programs are run under {sandbox.shared().tier}"
    else:
        yield asked.fault(("problems", "code"), f"programs cannot be run here: {why}", REMEDY)
