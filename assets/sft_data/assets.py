"""The SFT data assets: generations, votes, verdicts and samples of each set of answers."""

from __future__ import annotations

from typing import Any

from assets.sft_data.brought import ready, recorded
from assets.sft_data.feedback_edit import specs as feedback_edit
from assets.sft_data.slices import HELD_OUT, STAGE, budgeted, cleaned, verdicts, votes
from resources.recipe.schema import Recipe
from resources.recipe.sections.answered import Answered, sampling
from resources.recipe.sections.base import needed
from resources.recipe.sections.roles import RoleName
from resources.store.spec import Spec

TEACHER = "parents/teacher"
ANSWERING: tuple[RoleName, ...] = ("teacher", "off")


def specs(recipe: Recipe) -> list[Spec]:
    """`sft_data/<set>_generations`, `_verdicts` and `sft_data/<set>`, for each domain and each
    source with `answers`.

    Where a set has problems without a known answer that are voted on also `_votes`, where it asks a
    judge `_judgements`, and `sft_data/judge_agreement` of them all; where its answers are edited by
    feedback what `feedback_edit` makes of them. And `sft_data/<source>` of each
    source that an SFT stage draws from: conversations as they are, recorded responses with
    `_responses` and `_verdicts` before.
    """
    made: list[Spec] = []
    for name, data in recipe.answered.items():
        inputs = _inputs(name, data)
        judged = inputs | ({"votes": f"{STAGE}/{name}_votes"} if data.voting else {})
        what = f"answer of {name}" if data.source else f"{name} answer"
        made += [
            _generations(recipe, name, data),
            *([votes(name, recipe, data.domain, inputs, data.voting)] if data.voting else []),
            verdicts(name, data.domain, judged, recipe.family.seed, what),
            *([_judgements(recipe, name, data)] if data.judge else []),
            *(feedback_edit.of_set(recipe, name, data, judged) if data.feedback_edit else []),
            _samples(recipe, name, data),
        ]
    asked = [name for name, data in recipe.answered.items() if data.judge]
    if asked:
        made.append(_agreement(recipe, asked))
    edited = [name for name, data in recipe.answered.items() if data.feedback_edit]
    if edited:
        made.append(feedback_edit.gain(recipe, edited))
    for name in recipe.drawn_sources:
        as_they_are = recipe.family.sources[name].kind == "conversations"
        made += [ready(recipe, name)] if as_they_are else recorded(recipe, name)
    return made


def _inputs(name: str, data: Answered) -> dict[str, str]:
    return {"problems": f"problems/{data.domain}", "generations": f"{STAGE}/{name}_generations"}


def _generations(recipe: Recipe, name: str, data: Answered) -> Spec:
    family = recipe.family
    roles = data.roles(family)
    served = {role: family.served(role) for role in ANSWERING if role in roles}
    checkpoints: dict[RoleName, tuple[str, str]] = {"teacher": ("teacher", TEACHER)}
    if family.off_generator != "teacher":
        checkpoints["off"] = ("instruct", recipe.checkpoint_key(family.off_generator))
    models = dict(checkpoints[role] for role in ANSWERING if role in served and not served[role])
    return Spec(
        key=f"{STAGE}/{name}_generations",
        stage=STAGE,
        fn="assets.sft_data.generate:generate",
        inputs={"problems": f"problems/{data.domain}", **models},
        recipe={
            "domain": data.domain,
            **_asked(recipe, data),
            **_modes(data),
            **_drawn(recipe, data),
            **{role: each.asked() for role, each in served.items() if each},
        },
        seed=family.seed,
        checks=("assets.sft_data.checks:every_prompt_answered",),
        kinds=("torch", "parquet"),
        pool="gpu",
        description=f"Answers to {data.source or data.domain} problems, with thinking on and off.",
    )


def _asked(recipe: Recipe, data: Answered) -> dict[str, Any]:
    """Which problems of the domain are asked, and by whom where it is not the teacher."""
    if data.source is not None:
        return {"source": data.source} | ({"by": data.by} if data.by != "teacher" else {})
    own = [n for n, each in recipe.family.problem_sources(data.domain).items() if each.answers]
    return {"prompts": data.prompts} | ({"apart": own} if own else {})


def _drawn(recipe: Recipe, data: Answered) -> dict[str, Any]:
    """How answers are sampled, those of thinking off apart where they are sampled otherwise."""
    family = recipe.family
    made: dict[str, Any] = {}
    for mode, count in data.samples.items():
        if not count:
            continue
        drawn = sampling(family, data.domain, data.role(family, mode))
        if "dtype" in drawn:
            made["dtype"] = drawn.pop("dtype")
        if made.setdefault("generation", drawn) != drawn:
            made[f"generation_{mode}"] = drawn
    return made


def _judgements(recipe: Recipe, name: str, data: Answered) -> Spec:
    judge, role = recipe.family.judge, needed(recipe.family.served("judge"), "roles.judge")
    compared = {"agreement": judge.agreement} if data.judge == "unknown" else {}
    return Spec(
        key=f"{STAGE}/{name}_judgements",
        stage=STAGE,
        fn="assets.sft_data.judge:judge",
        inputs={
            **_inputs(name, data),
            "verdicts": f"{STAGE}/{name}_verdicts",
            **({"votes": f"{STAGE}/{name}_votes"} if data.voting else {}),
        },
        recipe={"rows": data.judge, **compared, **judge.asked, "judge": role.asked()},
        seed=recipe.family.seed,
        checks=("assets.sft_data.checks:judge_decides",),
        kinds=("parquet",),
        pool="gpu",
        description=f"What a judge says of {name} answers, reply by reply.",
    )


def _agreement(recipe: Recipe, names: list[str]) -> Spec:
    return Spec(
        key=f"{STAGE}/judge_agreement",
        stage=STAGE,
        fn="assets.sft_data.agreement:agree",
        inputs={name: f"{STAGE}/{name}_judgements" for name in names},
        recipe={},
        seed=recipe.family.seed,
        kinds=("parquet",),
        description="How often the judge agrees with the verifiers, where those know.",
    )


def _samples(recipe: Recipe, name: str, data: Answered) -> Spec:
    before, said = cleaned(recipe, name)
    return Spec(
        key=f"{STAGE}/{name}",
        stage=STAGE,
        fn="assets.sft_data.select:select",
        inputs={
            **_inputs(name, data),
            "verdicts": f"{STAGE}/{name}_verdicts",
            **({"judgements": f"{STAGE}/{name}_judgements"} if data.judge else {}),
            **(feedback_edit.used(name) if data.feedback_edit == "used" else {}),
            "held_out": HELD_OUT,
            **recipe.benchmark_inputs,
            **before,
        },
        recipe={"domain": data.domain, **_modes(data), **said},
        seed=recipe.family.seed,
        checks=(
            "assets.sft_data.checks:no_empty_domain",
            "assets.sft_data.checks:toggle_obeyed",
            "assets.sft_data.checks:no_held_out_overlap",
            "assets.sft_data.checks:nothing_lost",
            *budgeted(said),
        ),
        kinds=("parquet",),
        description=f"Verified {name} samples, and every drop with its reason.",
    )


def _modes(data: Answered) -> dict[str, int]:
    return {f"samples_{mode}": count for mode, count in data.samples.items()}
