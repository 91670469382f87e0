"""The specs of the RL stages: each starts from the checkpoint before it."""

from __future__ import annotations

import json

import pytest

from assets.rl.assets import specs
from resources.recipe.loading import load


@pytest.mark.parametrize("name", ["tiny", "smoke", "paper"])
def test_each_stage_starts_from_the_one_before(name: str) -> None:
    made = {spec.key: spec for spec in specs(load(name, check_paths=False))}
    starts = {key: spec.inputs["model"] for key, spec in made.items()}
    assert starts == {
        "nano/rpo": "nano/sft_chat",
        "super/rloo": "super/sft",
        "super/rpo": "super/rloo",
        "ultra/grpo": "ultra/sft",
        "ultra/rloo": "ultra/grpo",
        "ultra/rlhf": "ultra/rloo",
    }
    assert [made[f"ultra/{stage}"].recipe["method"] for stage in ("grpo", "rloo", "rlhf")] == [
        "grpo",
        "rloo",
        "grpo",
    ]
    assert "reward_model" in made["ultra/rlhf"].inputs
    assert "reward_model" not in made["ultra/grpo"].inputs
    for spec in made.values():
        json.dumps(spec.recipe)
