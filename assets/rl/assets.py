"""The rl stage's assets: GRPO, RLOO and the preference stage of every model that has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resources.recipe.schema import Recipe
from resources.recipe.sections.base import needed
from resources.recipe.sections.reinforcement import PolicyGradient, PreferenceGrpo, Rpo
from resources.store.spec import Spec

VERSION = "3"
POLICY_GRADIENT = "assets.rl.grpo:train_policy_gradient"
RPO = {
    "rpo_offline": "assets.rl.rpo_offline:train_rpo_offline",
    "rpo_online": "assets.rl.rpo_online:train_rpo_online",
}
SAMPLED = (
    "resources.training.checks:loss_finite",
    "assets.rl.checks:rollouts_complete",
    "assets.rl.checks:engine_agrees",
    "assets.rl.checks:toggle_obeyed",
    "assets.rl.checks:reward_rose",
)
OFFLINE = ("resources.training.checks:loss_finite", "assets.rl.checks:preferences_learned")


def specs(recipe: Recipe) -> list[Spec]:
    """The RL checkpoints of each model, in training order."""
    made: list[Spec] = []
    for name, model in recipe.models.items():
        if model.grpo:
            inputs = {"prompts": "rl_data/prompts", "curriculum": f"{name}/curriculum"}
            spec = _spec(recipe, name, "grpo", POLICY_GRADIENT, inputs, _verified(model.grpo))
            practised = needed(recipe.family.pass_rates, "pass_rates").domains
            made.append(replace(spec, runs_programs="code" in practised))
        if model.rloo:
            inputs = {"prompts": "rl_data/instruction_prompts"}
            made.append(_spec(recipe, name, "rloo", POLICY_GRADIENT, inputs, _verified(model.rloo)))
        if model.preference:
            made.append(_preference(recipe, name, model.preference))
    return made


def _verified(section: PolicyGradient) -> dict[str, Any]:
    """The slice of a stage whose rewards come from the verifiers; the plan is the curriculum's."""
    return section.model_dump(mode="json", exclude={"curriculum", "batch_size"})


def _preference(recipe: Recipe, name: str, section: Rpo | PreferenceGrpo) -> Spec:
    inputs = {"prompts": "rl_data/preference_prompts"}
    values = section.model_dump(mode="json", exclude={"name"})
    if section.method == "rpo_offline":
        sampling = {"prompts", "samples", "temperature", "top_p", "max_new_tokens"}
        values = {key: value for key, value in values.items() if key not in sampling}
        inputs["pairs"] = f"{name}/preference_pairs"
        return _spec(recipe, name, section.name, RPO[section.method], inputs, values, OFFLINE)
    inputs["reward_model"] = "rl_data/reward_model"
    responses = values.pop("batch_size")
    if section.method == "rpo_online":
        values["prompts_per_step"] = responses  # a pair a prompt
        spec = _spec(recipe, name, section.name, RPO[section.method], inputs, values)
    else:
        values["prompts_per_step"] = responses // section.samples
        values["updates_per_rollout"] = 1
        spec = _spec(recipe, name, section.name, POLICY_GRADIENT, inputs, values)
    judged = any(one.domains.get("code") for one in section.rounds)  # beside the reward
    return replace(spec, runs_programs=judged)


def _spec(
    recipe: Recipe,
    name: str,
    artifact: str,
    fn: str,
    inputs: dict[str, str],
    values: dict[str, Any],
    checks: tuple[str, ...] = SAMPLED,
) -> Spec:
    before = recipe.models[name].stage(artifact).before
    key = f"{name}/{artifact}"
    return Spec(
        key=key,
        stage="rl",
        fn=fn,
        inputs={"model": recipe.checkpoint_key(name, before), **inputs},
        recipe={"method": artifact, **values, "model": name, "stage": artifact},
        seed=recipe.family.seed,
        version=VERSION,
        checks=checks,
        model=name,
        kinds=("torch", "deepspeed"),
        pool="gpu",
        description=f"{name} after {artifact.upper()}, from {before}; every rollout is kept.",
    )
