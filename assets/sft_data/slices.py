"""What the specs of all SFT data share: what they are compared with, cleaned by and checked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assets.sft_data.deduplicate import BEFORE
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import Domain, Reasoning
from resources.recipe.sections.cleaning import decontaminated
from resources.store.spec import Spec

STAGE = "sft_data"
HELD_OUT = "problems/held_out"


def cleaned(recipe: Recipe, name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The data sets that come before one, as its inputs, and what of cleaning is in its slice."""
    cleaning = recipe.family.cleaning
    if cleaning is None:
        return {}, {}
    said = decontaminated(cleaning, recipe.benchmark_inputs) | cleaning.of_samples
    if cleaning.deduplicate is None:
        return {}, said
    made = {*recipe.answered, *recipe.drawn_sources}
    order = [each for each in cleaning.deduplicate.priority if each in made]
    before = order[: order.index(name)] if name in order else []
    inputs = {f"{BEFORE}{each}": f"{STAGE}/{each}" for each in before}
    return inputs, {**said, "deduplicate": {"near": cleaning.deduplicate.near}}


def budgeted(cleaned: Mapping[str, Any]) -> list[str]:
    """The check of how much is dropped, where the recipe says how much may be."""
    return ["assets.sft_data.checks:drops_within_budget"] if "budgets" in cleaned else []


def held_out(recipe: Recipe) -> dict[str, str]:
    """What nothing may be trained on, as inputs."""
    own = {"held_out": HELD_OUT} if recipe.family.problems else {}
    return own | recipe.benchmark_inputs


def verdicts(name: str, domain: Domain, inputs: Mapping[str, str], seed: int, what: str) -> Spec:
    """The verdicts on answers; where `inputs` has votes, by them too."""
    return Spec(
        key=f"{STAGE}/{name}_verdicts",
        stage=STAGE,
        fn="assets.sft_data.verify:verify",
        inputs=inputs,
        recipe={"domain": domain},
        seed=seed,
        checks=(
            "assets.sft_data.checks:every_generation_judged",
            "assets.sft_data.checks:few_unknown",
        ),
        kinds=("parquet",),
        runs_programs=domain == "code",
        description=f"A verdict with evidence on each {what}.",
    )


def votes(
    name: str, recipe: Recipe, domain: Domain, inputs: Mapping[str, str], modes: Sequence[Reasoning]
) -> Spec:
    """The votes on problems without a known answer."""
    return Spec(
        key=f"{STAGE}/{name}_votes",
        stage=STAGE,
        fn="assets.sft_data.vote:vote",
        inputs=inputs,
        recipe={
            "domain": domain,
            "modes": list(modes),
            "vote": recipe.family.vote.model_dump(mode="json"),
        },
        seed=recipe.family.seed,
        checks=(
            "assets.sft_data.checks:every_open_problem_voted",
            "assets.sft_data.checks:vote_decides",
        ),
        kinds=("parquet",),
        description=f"What most answers of {name} say, where no true answer is known.",
    )
