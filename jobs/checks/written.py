"""What is written down: what nothing uses, and what this build does not have yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.checks.asked import Asked, Finding
from resources.recipe.data import FIELDS, CorpusMix, not_yet
from resources.recipe.reading.finding import PREFIX
from resources.recipe.tree import KeyPath


def unused(asked: Asked) -> Iterator[Finding]:
    """Settings that nothing which runs reads."""
    recipe, family = asked.recipe, asked.recipe.family
    drawn = set(recipe.drawn_sources)
    if isinstance(family.corpus, CorpusMix):
        drawn |= set(family.corpus.mix)
    for name, source in family.sources.items():
        if name not in drawn and source.kind in FIELDS:
            yield asked.fault(
                ("sources", name),
                "no stage draws from it",
                "name it in corpus.mix or in the mix of an SFT stage, or leave it out",
            )
    read_by = {
        "pass_rates": ("grpo", any(model.grpo for model in recipe.models.values())),
        "instruction_prompts": ("rloo", any(model.rloo for model in recipe.models.values())),
        "reward_model": ("preference", any(model.preference for model in recipe.models.values())),
    }
    for key, (stage, used) in read_by.items():
        node = recipe.tree.child(key)
        # A base says it for whoever needs it; only what a person wrote is theirs to mend.
        if not used and node is not None and not str(node.origin).startswith(PREFIX):
            yield asked.fault((key,), f"no model has {stage}, which alone reads it", "leave it out")
    if family.published_rows is not None:
        yield asked.fault(("published_rows",), "no stage reads it", "leave it out")
    if "tensor_parallel" in recipe.execution.model_fields_set:
        yield asked.fault(
            ("execution", "tensor_parallel"), "no engine of this build reads it", "leave it out"
        )


def unbuilt(asked: Asked) -> Iterator[Finding]:
    """What comes with a later release, with the stage that would need it."""
    for name, reason in not_yet(asked.recipe.family.sources):
        yield asked.fault(("sources", name), reason)
    hardware = asked.recipe.execution.hardware
    if hardware is None or hardware.devices == 1:
        return
    family = asked.recipe.family
    wanted: list[tuple[KeyPath, Any, str]] = []
    if family.teacher is not None:
        wanted.append((("teacher",), family.teacher, "sft_data"))
    if family.reward_model and family.reward_model.pretrained:
        wanted.append((("reward_model", "pretrained"), family.reward_model.pretrained, "rl_data"))
    for keys, model, stage in wanted:
        if asked.recipe.parent_source(model).kind != "hub":
            continue
        yield asked.fault(
            keys,
            f"{model} is loaded whole by one process, whatever devices there are (stage {stage})",
            "servers as engines come with the next release; name one that fits a device",
        )
