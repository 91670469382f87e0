"""What each training stage of a model trains on, and the execution settings that place it.

Recipe in, plain records out: what they take is in `resources/costs/planning.py`. Knows no sizes
of models and no machine but the one the recipe names.
"""

from __future__ import annotations

from collections.abc import Iterator

from resources.costs.placement import Machine
from resources.costs.planning import Settings, Work
from resources.recipe.data import CorpusMix
from resources.recipe.model import Recovery
from resources.recipe.reinforcement import PreferenceGrpo, Rpo
from resources.recipe.schema import Recipe

VERIFIED = 3.0  # sampled once, then scored by the policy and by the reference
PAIRED = 1.0  # scored by the reference


def works(recipe: Recipe, name: str) -> list[Work]:
    """The training stages of a model in order, each with what it trains on.

    Lengths of examples and responses are the execution settings' `typical`; a corpus that is passed
    over counts with its documents at full length.
    """
    return list(_works(recipe, name))


def _works(recipe: Recipe, name: str) -> Iterator[Work]:
    model, typical = recipe.models[name], recipe.execution.typical
    if model.distillation is not None:
        section = model.distillation
        yield Work(
            "distilled",
            _recovered(recipe, section),
            section.sequence_length,
            section.batch_tokens,
            taught=section.teacher == "live",
            chunk=section.chunk,
            chunks=True,
        )
    if model.continued_pretraining is not None:
        recovery = model.continued_pretraining
        yield Work(
            "continued",
            _recovered(recipe, recovery),
            recovery.sequence_length,
            recovery.batch_tokens,
        )
    for part in model.sft:
        tokens = part.tokens or part.samples * (part.epochs or 1) * typical.example
        yield Work(part.name, tokens, part.sequence_length, part.batch_tokens)
    for stage, rewarded in (("grpo", model.grpo), ("rloo", model.rloo)):
        if rewarded is not None:
            responses = rewarded.steps * rewarded.prompts_per_step * rewarded.samples
            length = rewarded.max_new_tokens
            tokens = responses * typical.response_on
            yield Work(stage, tokens, length, rewarded.batch_size * length, forward=VERIFIED)
    if model.preference is not None:
        yield _preferred(model.preference, typical.response_on)


def _recovered(recipe: Recipe, section: Recovery) -> int:
    corpus = recipe.family.corpus
    once = corpus.tokens if isinstance(corpus, CorpusMix) else corpus.documents * corpus.max_tokens
    return section.tokens or (section.epochs or 1) * once


def _preferred(section: Rpo | PreferenceGrpo, response: int) -> Work:
    """A preference stage: its responses, or the two of each pair."""
    length, updates = section.max_new_tokens, len(section.rounds) * section.steps
    together, forward = section.batch_size, VERIFIED
    if section.method != "grpo":
        together = 2 * section.batch_size
        # Online, all of a prompt's samples are drawn for the two of them that are trained on.
        forward = PAIRED + (section.samples / 2 if section.method == "rpo_online" else 0.0)
    return Work(
        section.name, updates * together * response, length, together * length, forward=forward
    )


def settings(recipe: Recipe, name: str) -> Settings:
    """How a model's stages are placed: on the hardware that the recipe names, else as launched."""
    chosen = recipe.execution
    hardware = chosen.hardware
    ranks = chosen.ranks * max(1, len(chosen.hosts))
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
