"""What the stages of a model take, as their sections say it, and the settings that place them.

Recipe in, plain records out: what the training takes is in `resources/costs/planning.py`, what all
of it costs in `resources/costs/budget.py`. Knows no stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from resources.costs.parents import size_of
from resources.costs.placement import Machine
from resources.costs.planning import Settings
from resources.recipe.schema import Recipe
from resources.recipe.sections.data import CorpusMix, Source
from resources.recipe.sections.effort import Effort, Material, Work
from resources.sources.shards import files

BYTES_PER_TOKEN = 4  # of text, roughly


def efforts(recipe: Recipe, name: str) -> dict[str, Effort]:
    """What the assets of a model's stages take, by name, in the order of the stages.

    Lengths of examples and responses are the execution settings' `typical`; a corpus that is passed
    over counts with its documents at full length.
    """
    material = _material(recipe, name)
    line = recipe.models[name].line()
    return {k: v for stage in line for k, v in stage.section.efforts(stage.name, material).items()}


def works(recipe: Recipe, name: str) -> list[Work]:
    """The training stages of a model in order, each with what it trains on."""
    return [each.work for each in efforts(recipe, name).values() if each.work is not None]


def _material(recipe: Recipe, name: str) -> Material:
    typical, corpus = recipe.execution.typical, recipe.family.corpus
    if isinstance(corpus, CorpusMix):
        once = corpus.tokens
        held_out = corpus.share_apart(recipe.family.sources) * corpus.tokens
    else:
        once = corpus.documents * corpus.max_tokens
        held_out = 0.0  # a small share of the examples
    return Material(
        example=typical.example,
        response=typical.response_on,
        corpus=once,
        held_out=held_out,
        layers=size_of(recipe, name).layers,
        samples=partial(_samples, recipe),
    )


def _samples(recipe: Recipe, name: str, modes: Sequence[str]) -> int:
    """How many samples a stage finds that takes all: every answer kept, files by their bytes.

    What a hub has, unless it is limited, is not known before it is read and counts as nothing.
    """
    data = recipe.answered.get(name)
    if data is not None:
        each = sum(count for mode, count in data.samples.items() if data.source or mode in modes)
        return asked_problems(recipe, name) * each
    source = recipe.family.sources.get(name)
    return _rows(recipe, source) if source is not None else 0


def asked_problems(recipe: Recipe, name: str) -> int:
    """How many problems are answered for a domain, or for a source with `answers`; one at least."""
    data = recipe.answered[name]
    if data.source is None:
        return data.prompts or 1
    return max(1, _rows(recipe, recipe.family.sources[data.source]))


def _rows(recipe: Recipe, source: Source) -> int:
    example = BYTES_PER_TOKEN * recipe.execution.typical.example
    return source.limit or _bytes(recipe, source) // example


def _bytes(recipe: Recipe, source: Source) -> int:
    if source.path.startswith("hub:"):
        return 0
    return sum(path.stat().st_size for path, _ in files(source.path, recipe.directory))


def alone(recipe: Recipe) -> list[str]:
    """The assets that train in one process, whatever `ranks` and `hosts` say: RL, reward model."""
    found = [
        f"{name}/{asset}"
        for name in recipe.models
        for asset, effort in efforts(recipe, name).items()
        if effort.alone
    ]
    reward = recipe.family.reward_model
    judged = any(model.reads("reward_model") for model in recipe.models.values())
    trained = judged and reward is not None and reward.pretrained is None
    return [*found, *(["rl_data/reward_model"] if trained else [])]


def settings(recipe: Recipe, name: str) -> Settings:
    """How a model's stages are placed: on the hardware that the recipe names, else as launched."""
    chosen = recipe.execution
    hardware = chosen.hardware
    ranks = chosen.processes
    hours = {key.partition("/"): value for key, value in chosen.published_hours.items()}
    return Settings(
        device=chosen.device,
        ranks=hardware.devices if hardware else ranks,
        zero_stage=chosen.zero_stage,
        micro_batch=chosen.micro_batch,
        offload_optimizer=chosen.offload_optimizer,
        activation_checkpointing=chosen.activation_checkpointing,
        sequence_parallel=chosen.sequence_parallel,
        teacher_apart=chosen.teacher_device is not None,
        machine=Machine(hardware.name, hardware.memory_bytes, hardware.flops, hardware.mfu)
        if hardware
        else None,
        published={stage: value for (model, _, stage), value in hours.items() if model == name},
    )
