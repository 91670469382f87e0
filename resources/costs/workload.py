"""What each training stage of a model trains on, and the execution settings that place it.

Recipe in, plain records out: what they take is in `resources/costs/planning.py`. Knows no sizes
of models and no machine but the one the recipe names.
"""

from __future__ import annotations

from dataclasses import replace

from resources.costs.placement import Machine
from resources.costs.planning import Settings, Work
from resources.recipe.data import CorpusMix, Source
from resources.recipe.model import Distillation, Recovery, Sft, Stage
from resources.recipe.reinforcement import Grpo, PreferenceGrpo, Rloo, Rpo
from resources.recipe.schema import Recipe
from resources.sources.shards import files

VERIFIED = 3.0  # sampled once, then scored by the policy and by the reference
BYTES_PER_TOKEN = 4  # of text, roughly
PAIRED = 1.0  # scored by the reference


def works(recipe: Recipe, name: str) -> list[Work]:
    """The training stages of a model in order, each with what it trains on.

    Lengths of examples and responses are the execution settings' `typical`; a corpus that is passed
    over counts with its documents at full length.
    """
    found = ((stage, _work(recipe, stage)) for stage in recipe.models[name].line())
    return [
        replace(work, dtype=getattr(stage.section, "dtype", None))
        for stage, work in found
        if work is not None
    ]


def _work(recipe: Recipe, stage: Stage) -> Work | None:
    """What a stage trains on; None for one that trains nothing."""
    typical, section = recipe.execution.typical, stage.section
    match section:
        case Distillation():
            return Work(
                stage.name,
                _recovered(recipe, section),
                section.sequence_length,
                section.batch_tokens,
                taught=section.teacher == "live",
                chunk=section.chunk,
                chunks=True,
            )
        case Recovery():
            tokens = _recovered(recipe, section)
            return Work(stage.name, tokens, section.sequence_length, section.batch_tokens)
        case Sft():
            tokens = sft_tokens(recipe, section)
            return Work(stage.name, tokens, section.sequence_length, section.batch_tokens)
        case Grpo() | Rloo():
            tokens, length = responses(section) * typical.response_on, section.max_new_tokens
            return Work(stage.name, tokens, length, section.batch_size * length, forward=VERIFIED)
        case Rpo() | PreferenceGrpo():
            return _preferred(section, typical.response_on)
    return None


def sft_tokens(recipe: Recipe, section: Sft) -> int:
    """The tokens that an SFT stage trains on."""
    typical = recipe.execution.typical.example
    if section.tokens:
        return section.tokens
    samples = section.samples or _rows(recipe, section)
    return samples * (section.epochs or 1) * typical


def _rows(recipe: Recipe, section: Sft) -> int:
    """How many samples a stage finds that takes all: every answer kept, files by their bytes.

    What a hub has, unless it is limited, is not known before it is read and counts as nothing.
    """
    family, found = recipe.family, 0
    for name, weight in section.weights.items():
        source = family.sources.get(name)
        if weight and source is not None:
            found += source.limit or _bytes(recipe, source) // (
                BYTES_PER_TOKEN * recipe.execution.typical.example
            )
        elif weight and (data := family.sft_data.get(name)) is not None:  # type: ignore[call-overload]
            sampled = {"on": data.samples_on, "off": data.samples_off}
            found += data.prompts * sum(sampled[mode] for mode in section.reasoning)
    return max(found, 1)


def _bytes(recipe: Recipe, source: Source) -> int:
    if source.path.startswith("hub:"):
        return 0
    return sum(path.stat().st_size for path, _ in files(source.path, recipe.directory))


def responses(section: Grpo | Rloo) -> int:
    """How many responses a policy-gradient stage samples."""
    return section.steps * section.prompts_per_step * section.samples


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


def alone(recipe: Recipe) -> list[str]:
    """The assets that train in one process, whatever `ranks` and `hosts` say: RL, reward model."""
    one_process = Grpo | Rloo | Rpo | PreferenceGrpo
    found = [
        f"{name}/{stage.name}"
        for name, model in recipe.models.items()
        for stage in model.line()
        if isinstance(stage.section, one_process)
    ]
    reward = recipe.family.reward_model
    judged = any(model.preference for model in recipe.models.values())
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
