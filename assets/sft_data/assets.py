"""The SFT data assets: generations, verdicts and samples of each domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.sft_data.deduplicate import BEFORE
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import Domain, needed
from resources.recipe.sections.cleaning import decontaminated
from resources.recipe.sections.data import Source
from resources.recipe.sections.family import SftDomain
from resources.recipe.sections.roles import RoleName
from resources.store.home import find
from resources.store.spec import Spec

STAGE = "sft_data"
TEACHER = "parents/teacher"
HELD_OUT = "problems/held_out"
ANSWERING: tuple[RoleName, ...] = ("teacher", "off")


def specs(recipe: Recipe) -> list[Spec]:
    """`sft_data/<domain>_generations`, `_verdicts` and `sft_data/<domain>`, domain by domain.

    Where a domain asks a judge also `_judgements`, and `sft_data/judge_agreement` of them all. And
    `sft_data/<source>` of each source that an SFT stage draws from: conversations as they are,
    recorded responses with `_responses` and `_verdicts` before.
    """
    made: list[Spec] = []
    for domain, data in recipe.family.sft_data.items():
        made += [
            _generations(recipe, domain, data),
            _verdicts(recipe, domain),
            *([_judgements(recipe, domain, data)] if data.judge else []),
            _samples(recipe, domain, data),
        ]
    judged = [domain for domain, data in recipe.family.sft_data.items() if data.judge]
    if judged:
        made.append(_agreement(recipe, judged))
    for name in recipe.drawn_sources:
        ready = recipe.family.sources[name].kind == "conversations"
        made += [_ready(recipe, name)] if ready else _recorded(recipe, name)
    return made


def _generations(recipe: Recipe, domain: Domain, data: SftDomain) -> Spec:
    family = recipe.family
    served = {role: family.served(role) for role in ANSWERING}
    by_teacher = family.off_generator == "teacher" or served["off"] is not None
    off = {} if by_teacher else {"instruct": recipe.checkpoint_key(family.off_generator)}
    asked_on = data.samples_on or not (off or served["off"])
    asked = {"teacher": asked_on, "off": data.samples_off}
    generation = family.generation_for(domain).model_dump(mode="json")
    dtype = {"dtype": generation.pop("dtype")} if "dtype" in generation else {}
    return Spec(
        key=f"{STAGE}/{domain}_generations",
        stage=STAGE,
        fn="assets.sft_data.generate:generate",
        inputs={
            "problems": f"problems/{domain}",
            **({"teacher": TEACHER} if asked_on and served["teacher"] is None else {}),
            **(off if data.samples_off else {}),
        },
        recipe={
            "domain": domain,
            "prompts": data.prompts,
            **_modes(data),
            "generation": generation,
            **dtype,
            **{role: each.asked() for role, each in served.items() if each and asked[role]},
        },
        seed=family.seed,
        checks=("assets.sft_data.checks:every_prompt_answered",),
        kinds=("torch", "parquet"),
        pool="gpu",
        description=f"Answers to {domain} problems, with thinking on and off.",
    )


def _verdicts(recipe: Recipe, domain: Domain) -> Spec:
    return Spec(
        key=f"{STAGE}/{domain}_verdicts",
        stage=STAGE,
        fn="assets.sft_data.verify:verify",
        inputs={"problems": f"problems/{domain}", "generations": f"{STAGE}/{domain}_generations"},
        recipe={"domain": domain},
        seed=recipe.family.seed,
        checks=(
            "assets.sft_data.checks:every_generation_judged",
            "assets.sft_data.checks:few_unknown",
        ),
        kinds=("parquet",),
        runs_programs=domain == "code",
        description=f"A verdict with evidence on each {domain} answer.",
    )


def _judgements(recipe: Recipe, domain: Domain, data: SftDomain) -> Spec:
    judge, role = recipe.family.judge, needed(recipe.family.served("judge"), "roles.judge")
    compared = {"agreement": judge.agreement} if data.judge == "unknown" else {}
    return Spec(
        key=f"{STAGE}/{domain}_judgements",
        stage=STAGE,
        fn="assets.sft_data.judge:judge",
        inputs={
            "problems": f"problems/{domain}",
            "generations": f"{STAGE}/{domain}_generations",
            "verdicts": f"{STAGE}/{domain}_verdicts",
        },
        recipe={"rows": data.judge, **compared, **judge.asked, "judge": role.asked()},
        seed=recipe.family.seed,
        checks=("assets.sft_data.checks:judge_decides",),
        kinds=("parquet",),
        pool="gpu",
        description=f"What a judge says of {domain} answers, reply by reply.",
    )


def _agreement(recipe: Recipe, domains: list[Domain]) -> Spec:
    return Spec(
        key=f"{STAGE}/judge_agreement",
        stage=STAGE,
        fn="assets.sft_data.agreement:agree",
        inputs={domain: f"{STAGE}/{domain}_judgements" for domain in domains},
        recipe={},
        seed=recipe.family.seed,
        kinds=("parquet",),
        description="How often the judge agrees with the verifiers, where those know.",
    )


def _samples(recipe: Recipe, domain: Domain, data: SftDomain) -> Spec:
    before, cleaned = _cleaned(recipe, domain)
    return Spec(
        key=f"{STAGE}/{domain}",
        stage=STAGE,
        fn="assets.sft_data.select:select",
        inputs={
            "problems": f"problems/{domain}",
            "generations": f"{STAGE}/{domain}_generations",
            "verdicts": f"{STAGE}/{domain}_verdicts",
            **({"judgements": f"{STAGE}/{domain}_judgements"} if data.judge else {}),
            "held_out": HELD_OUT,
            **recipe.benchmark_inputs,
            **before,
        },
        recipe={
            "domain": domain,
            **_modes(data),
            **cleaned,
        },
        seed=recipe.family.seed,
        checks=(
            "assets.sft_data.checks:no_empty_domain",
            "assets.sft_data.checks:toggle_obeyed",
            "assets.sft_data.checks:no_held_out_overlap",
            "assets.sft_data.checks:nothing_lost",
            *_budgeted(cleaned),
        ),
        kinds=("parquet",),
        description=f"Verified {domain} samples, and every drop with its reason.",
    )


def _cleaned(recipe: Recipe, name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The data sets that come before one, as its inputs, and what of cleaning is in its slice."""
    cleaning = recipe.family.cleaning
    if cleaning is None:
        return {}, {}
    cleaned = decontaminated(cleaning, recipe.benchmark_inputs) | cleaning.of_samples
    if cleaning.deduplicate is None:
        return {}, cleaned
    made = {*recipe.family.sft_data, *recipe.drawn_sources}
    order = [each for each in cleaning.deduplicate.priority if each in made]
    before = order[: order.index(name)] if name in order else []
    inputs = {f"{BEFORE}{each}": f"{STAGE}/{each}" for each in before}
    return inputs, {**cleaned, "deduplicate": {"near": cleaning.deduplicate.near}}


def _budgeted(cleaned: Mapping[str, Any]) -> list[str]:
    """The check of how much is dropped, where the recipe says how much may be."""
    return ["assets.sft_data.checks:drops_within_budget"] if "budgets" in cleaned else []


def _modes(data: SftDomain) -> dict[str, int]:
    return {"samples_on": data.samples_on, "samples_off": data.samples_off}


def _held_out(recipe: Recipe) -> dict[str, str]:
    """What nothing may be trained on, as inputs."""
    held_out = {"held_out": HELD_OUT} if recipe.family.problems else {}
    return held_out | recipe.benchmark_inputs


def _entries(recipe: Recipe, source: Source) -> tuple[list[dict[str, Any]], list[str]]:
    """The shards of a source and its local files. SourceError where it has none."""
    from resources.sources.shards import entries, shards

    return entries(source, shards(source, recipe.directory, find().path / "hub"))


def _recorded(recipe: Recipe, name: str) -> list[Spec]:
    """The answers that a source gives, the verdicts on them, and the samples."""
    source, seed = recipe.family.sources[name], recipe.family.seed
    shards, watched = _entries(recipe, source)
    answers, held_out = f"{STAGE}/{name}_responses", _held_out(recipe)
    judged = {"problems": answers, "generations": answers}
    before, cleaned = _cleaned(recipe, name)
    return [
        Spec(
            key=answers,
            stage=STAGE,
            fn="assets.sft_data.responses:read_responses",
            recipe={
                "name": name,
                "source": source.read_as,
                "shards": shards,
                "max_drop": source.max_drop,
            },
            seed=seed,
            checks=("assets.sft_data.checks:responses_accounted",),
            kinds=("parquet",),
            description=f"The problems and answers of the source {name}, and the rows rejected.",
            observe=tuple(watched),
        ),
        Spec(
            key=f"{STAGE}/{name}_verdicts",
            stage=STAGE,
            fn="assets.sft_data.verify:verify",
            inputs=judged,
            recipe={"domain": source.domain},
            seed=seed,
            checks=(
                "assets.sft_data.checks:every_generation_judged",
                "assets.sft_data.checks:few_unknown",
            ),
            kinds=("parquet",),
            runs_programs=source.domain == "code",
            description=f"A verdict with evidence on each answer of the source {name}.",
        ),
        Spec(
            key=f"{STAGE}/{name}",
            stage=STAGE,
            fn="assets.sft_data.select:select",
            inputs={**judged, "verdicts": f"{STAGE}/{name}_verdicts", **held_out, **before},
            # As recorded: nothing was asked for in any mode, and nothing is paired.
            recipe={"domain": source.domain, "samples_on": 0, "samples_off": 0, **cleaned},
            seed=seed,
            checks=(
                "assets.sft_data.checks:some_samples",
                "assets.sft_data.checks:toggle_obeyed",
                *(["assets.sft_data.checks:no_held_out_overlap"] if held_out else []),
                "assets.sft_data.checks:nothing_lost",
                *_budgeted(cleaned),
            ),
            kinds=("parquet",),
            description=f"Verified samples of the source {name}, and every drop with its reason.",
        ),
    ]


def _ready(recipe: Recipe, name: str) -> Spec:
    """The samples that a source of conversations gives. SourceError where it has no files."""
    source, held_out = recipe.family.sources[name], _held_out(recipe)
    before, cleaned = _cleaned(recipe, name)
    made, watched = _entries(recipe, source)
    return Spec(
        key=f"{STAGE}/{name}",
        stage=STAGE,
        fn="assets.sft_data.conversations:load",
        inputs={**held_out, **before},
        recipe={
            "name": name,
            "source": source.read_as,
            "shards": made,
            "max_drop": source.max_drop,
            "holdout": source.holdout,
            "over_long": source.over_long,
            **cleaned,
        },
        seed=recipe.family.seed,
        checks=(
            "assets.sft_data.checks:some_to_train_on",
            *(["assets.sft_data.checks:no_held_out_overlap"] if held_out else []),
            "assets.sft_data.checks:rows_accounted",
            *_budgeted(cleaned),
        ),
        kinds=("parquet",),
        description=f"Conversations of the source {name} as samples, and every drop.",
        observe=tuple(watched),
    )
