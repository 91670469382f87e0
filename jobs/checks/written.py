"""What is written down and comes with a later release; what nothing uses is in `unused.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.checks.asked import Asked, Finding
from resources.recipe.sections.data import not_yet
from resources.recipe.tree import KeyPath


def unbuilt(asked: Asked) -> Iterator[Finding]:
    """What comes with a later release, with the stage that would need it."""
    for name, reason in not_yet(asked.recipe.family.sources):
        yield asked.fault(("sources", name), reason)
    hardware = asked.recipe.execution.hardware
    if hardware is None or hardware.devices == 1:
        return
    family = asked.recipe.family
    wanted: list[tuple[KeyPath, Any, str]] = []
    role = family.roles.get("teacher")
    sharded = bool(role and role.members) or asked.recipe.execution.engine == "vllm"
    if family.given_teacher is not None and not sharded:
        wanted.append((family.teacher_key, family.given_teacher, "sft_data"))
    if family.reward_model and family.reward_model.pretrained:
        wanted.append((("reward_model", "pretrained"), family.reward_model.pretrained, "rl_data"))
    for keys, model, stage in wanted:
        if asked.recipe.parent_source(model).kind != "hub":
            continue
        yield asked.fault(
            keys,
            f"{model} is loaded whole by one process, whatever devices there are (stage {stage})",
            "name one that fits a device, or a teacher's server under roles.teacher.engine",
        )
