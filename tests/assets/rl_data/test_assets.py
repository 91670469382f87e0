"""The specs follow the recipe: one artifact for what each model's RL stages need."""

from __future__ import annotations

import pytest

from assets.rl_data.assets import preference_domains, specs
from resources.recipe.loading import load


@pytest.mark.parametrize("name", ["tiny", "smoke", "paper"])
def test_specs_of_every_recipe(name: str) -> None:
    made = {spec.key: spec for spec in specs(load(name, check_paths=False))}
    assert list(made) == [
        "rl_data/pass_rates",
        "rl_data/prompts",
        "ultra/curriculum",
        "rl_data/instruction_prompts",
        "rl_data/preference_prompts",
        "rl_data/reward_model",
        "nano/preference_pairs",
    ]
    assert made["rl_data/pass_rates"].inputs["model"] == "super/sft"
    assert made["nano/preference_pairs"].inputs["model"] == "nano/sft_chat"
    for spec in made.values():
        assert (spec.stage == "rl_data" and spec.checks) or name == "paper"


def test_a_model_without_preference_stage_needs_no_reward_model() -> None:
    recipe = load("tiny", check_paths=False)
    models = {name: m.model_copy(update={"preference": None}) for name, m in recipe.models.items()}
    plain = type(recipe)(**{**vars(recipe), "models": models})
    keys = [spec.key for spec in specs(plain)]
    assert "rl_data/reward_model" not in keys and "rl_data/preference_prompts" not in keys


def test_the_prompt_pool_is_as_large_as_its_largest_round() -> None:
    recipe = load("tiny", check_paths=False)
    preferences = [model.preference for model in recipe.models.values() if model.preference]
    pool = preference_domains(preferences)
    for preference in preferences:
        for section in preference.rounds:
            total = sum(section.domains.values())
            for domain, weight in section.domains.items():
                assert pool[domain] >= preference.prompts * weight / total - 1
