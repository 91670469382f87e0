"""The rl_data stage's assets: pass rates, prompts, curricula, reward model, preference pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from resources.recipe.schema import Recipe
from resources.recipe.sections.base import needed
from resources.recipe.sections.reinforcement import Preference
from resources.store.home import find
from resources.store.spec import Spec

REWARD_MODEL_VERSION = "3"
CHECKS = "assets.rl_data.checks:"
PASS_RATES = "rl_data/pass_rates"
PROMPTS = "rl_data/prompts"
INSTRUCTION_PROMPTS = "rl_data/instruction_prompts"
PREFERENCE_PROMPTS = "rl_data/preference_prompts"
REWARD_MODEL = "rl_data/reward_model"


def specs(recipe: Recipe) -> list[Spec]:
    """What the RL stages of the recipe's models need, and the preferences that it declares."""
    sources = recipe.family.sources.items()
    made = [_recorded(recipe, name) for name, each in sources if each.kind == "preferences"]
    grpo = {name: model.grpo for name, model in recipe.models.items() if model.grpo}
    models = recipe.models.values()
    if any(model.reads("pass_rates") for model in models):
        made += [_pass_rates(recipe), _prompts(recipe)]
    for name, section in grpo.items():
        made.append(
            Spec(
                key=f"{name}/curriculum",
                stage="rl_data",
                fn="assets.rl_data.curriculum:build_curriculum",
                inputs={"prompts": PROMPTS},
                recipe={
                    "model": name,
                    "steps": section.steps,
                    "prompts_per_step": section.prompts_per_step,
                    **section.curriculum.model_dump(mode="json"),
                },
                seed=recipe.family.seed,
                checks=(CHECKS + "curriculum_is_full", CHECKS + "curriculum_gets_harder"),
                model=name,
                kinds=("parquet",),
                description=f"Which prompts {name}'s GRPO meets in which step, easy to hard.",
            )
        )
    if any(model.reads("instruction_prompts") for model in models):
        made.append(_instruction_prompts(recipe))
    preferences = {n: model.preference for n, model in recipe.models.items() if model.preference}
    if preferences:
        made += [_preference_prompts(recipe, preferences.values()), _reward_model(recipe)]
    for name, preference in preferences.items():
        if preference.method == "rpo_offline":
            made.append(_preference_pairs(recipe, name, preference))
    return made


def _recorded(recipe: Recipe, name: str) -> Spec:
    """The pairs of a declared source. SourceError where it has no files."""
    from resources.sources.shards import entries, shards

    source = recipe.family.sources[name]
    found, watched = entries(source, shards(source, recipe.directory, find().path / "hub"))
    return Spec(
        key=f"rl_data/preferences_{name}",
        stage="rl_data",
        fn="assets.rl_data.preferences:read_preferences",
        recipe={
            "name": name,
            "source": source.read_as,
            "shards": found,
            "max_drop": source.max_drop,
        },
        seed=recipe.family.seed,
        checks=("assets.rl_data.preferences:rows_accounted",),
        kinds=("parquet",),
        description=f"The preferences of the source {name}, row by row, and those rejected.",
        observe=tuple(watched),
    )


def problem_inputs(domains: Iterable[str]) -> dict[str, str]:
    """The problem assets of some domains, as inputs."""
    return {f"problems_{domain}": f"problems/{domain}" for domain in domains}


def preference_domains(preferences: Iterable[Preference]) -> dict[str, int]:
    """How many prompts of each domain the pool needs so that every round can draw its own."""
    wanted: dict[str, int] = {}
    for preference in preferences:
        for section in preference.rounds:
            total = sum(section.domains.values())
            for domain, weight in section.domains.items():
                count = math.ceil(preference.prompts * weight / total)
                if count:
                    wanted[domain] = max(wanted.get(domain, 0), count)
    return wanted


def _pass_rates(recipe: Recipe) -> Spec:
    section = needed(recipe.family.pass_rates, "pass_rates")
    return Spec(
        key=PASS_RATES,
        stage="rl_data",
        fn="assets.rl_data.pass_rates:build_pass_rates",
        inputs={
            "model": recipe.checkpoint_key(section.model, section.artifact),
            **problem_inputs(section.domains),
        },
        recipe=section.model_dump(mode="json", exclude={"model", "artifact"}),
        seed=recipe.family.seed,
        checks=(
            CHECKS + "pass_rates_valid",
            CHECKS + "samples_complete",
            CHECKS + "toggle_obeyed",
        ),
        kinds=("torch", "parquet"),
        runs_programs="code" in section.domains,
        pool="gpu",
        description=f"How often {section.model} solves each training problem.",
    )


def _prompts(recipe: Recipe) -> Spec:
    section = needed(recipe.family.pass_rates, "pass_rates")
    return Spec(
        key=PROMPTS,
        stage="rl_data",
        fn="assets.rl_data.prompts:build_prompts",
        inputs={"pass_rates": PASS_RATES, **problem_inputs(section.domains)},
        recipe={"domains": list(section.domains), "discard_at": section.discard_at},
        seed=recipe.family.seed,
        checks=(CHECKS + "prompts_not_empty", CHECKS + "kept_below_discard"),
        kinds=("parquet",),
        description="The problems that are worth practising; the others with their reason.",
    )


def _instruction_prompts(recipe: Recipe) -> Spec:
    section = needed(recipe.family.instruction_prompts, "instruction_prompts")
    return Spec(
        key=INSTRUCTION_PROMPTS,
        stage="rl_data",
        fn="assets.rl_data.instruction_prompts:build_instruction_prompts",
        inputs={
            "problems": "problems/instructions",
            "held_out": "problems/held_out",
            **recipe.benchmark_inputs,
        },
        recipe=section.model_dump(mode="json"),
        seed=recipe.family.seed,
        checks=(CHECKS + "prompts_not_empty", CHECKS + "no_held_out_overlap"),
        kinds=("parquet",),
        description="New prompts with one to n checkable constraints.",
    )


def _preference_prompts(recipe: Recipe, preferences: Iterable[Preference]) -> Spec:
    domains = preference_domains(preferences)
    return Spec(
        key=PREFERENCE_PROMPTS,
        stage="rl_data",
        fn="assets.rl_data.preference_prompts:build_preference_prompts",
        inputs=problem_inputs(domains),
        recipe={"domains": domains},
        seed=recipe.family.seed,
        checks=(CHECKS + "prompts_not_empty",),
        kinds=("parquet",),
        description="The pool of questions that the preference stages answer and compare.",
    )


def _reward_model(recipe: Recipe) -> Spec:
    section = needed(recipe.family.reward_model, "reward_model")
    domains = list(preference_domains(m.preference for m in recipe.models.values() if m.preference))
    if section.pretrained is not None:
        return Spec(
            key=REWARD_MODEL,
            stage="rl_data",
            fn="assets.rl_data.reward_model:use_pretrained",
            recipe={"pretrained": section.pretrained},
            source=recipe.parent_source(section.pretrained),
            seed=recipe.family.seed,
            kinds=("torch",),
            description="The reward model, taken as it is.",
        )
    return Spec(
        key=REWARD_MODEL,
        stage="rl_data",
        fn="assets.rl_data.reward_model:train_reward_model",
        inputs={
            "model": recipe.checkpoint_key(section.base, section.artifact),
            **problem_inputs(domains),
        },
        recipe={
            **section.model_dump(mode="json", exclude={"base", "artifact", "pretrained"}),
            "domains": domains,
        },
        seed=recipe.family.seed,
        version=REWARD_MODEL_VERSION,
        checks=(CHECKS + "pairs_valid", CHECKS + "reward_model_ranks"),
        kinds=("torch", "deepspeed"),
        runs_programs="code" in domains,
        pool="gpu",
        description="Which of two responses is better, learned from verdicts and the toggle.",
    )


def _preference_pairs(recipe: Recipe, name: str, preference: Preference) -> Spec:
    before = recipe.models[name].stage(preference.name).before
    wanted = {"rounds", "prompts", "samples", "temperature", "top_p", "max_new_tokens", "dtype"}
    return Spec(
        key=f"{name}/preference_pairs",
        stage="rl_data",
        fn="assets.rl_data.preference_pairs:build_preference_pairs",
        inputs={
            "model": recipe.checkpoint_key(name, before),
            "prompts": PREFERENCE_PROMPTS,
            "reward_model": REWARD_MODEL,
        },
        recipe=preference.model_dump(mode="json", include=wanted),
        seed=recipe.family.seed,
        checks=(CHECKS + "pairs_valid", CHECKS + "every_round_has_pairs"),
        model=name,
        kinds=("torch", "parquet"),
        runs_programs="code" in preference_domains([preference]),
        pool="gpu",
        description=f"{name}'s own responses, the best and the worst by reward.",
    )
