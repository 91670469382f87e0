"""The specs of Feedback-Edit: what it makes of the drafts of a set of answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assets.sft_data.feedback_edit.gain import TABLES
from assets.sft_data.slices import STAGE, verdicts
from resources.recipe.schema import Recipe
from resources.recipe.sections.answered import Answered
from resources.recipe.sections.asked import Asked
from resources.recipe.sections.base import needed
from resources.recipe.sections.feedback_edit import STEPS
from resources.recipe.sections.roles import RoleName
from resources.store.spec import Spec

FOLDER = "assets.sft_data.feedback_edit"
GAIN = f"{STAGE}/feedback_edit_gain"


def of_set(recipe: Recipe, name: str, data: Answered, drafted: Mapping[str, str]) -> list[Spec]:
    """`_feedback`, `_edits`, `_edit_verdicts` and `_choices` of one set.

    `drafted`: the inputs `problems` and `generations`, and `votes` where there are some.
    """
    section = recipe.family.feedback_edit
    drafts = {key: drafted[key] for key in ("problems", "generations")}
    given = {"feedback": f"{STAGE}/{name}_feedback"}
    edits = {"edits": f"{STAGE}/{name}_edits"}
    amounts = {"drafts": section.drafts, "feedbacks": section.feedbacks}
    judged = {key: each for key, each in drafted.items() if key != "generations"} | edits
    verdict = verdicts(name, data.domain, judged, recipe.family.seed, f"edit of {name}")
    return [
        _step(
            recipe, name, "feedback", "feedback:give_feedback", drafts, section.feedback, amounts
        ),
        _step(recipe, name, "edit", "edit:edit", drafts | given, section.edit),
        replace(verdict, key=f"{STAGE}/{name}_edit_verdicts"),
        _step(recipe, name, "select", "choose:choose", drafts | given | edits, section.select),
    ]


# Of each role: the table that its replies make, what that is, and its checks.
_MADE = {
    "feedback": (
        "feedback",
        "Feedback on drafts of {}.",
        ("every_draft_given_feedback", "few_useless_feedbacks"),
    ),
    "edit": (
        "edits",
        "Drafts of {}, edited by the feedback on them.",
        ("every_feedback_edited", "few_useless_edits"),
    ),
    "select": (
        "choices",
        "Which of a draft of {} and its edits a model chooses, in two orders.",
        ("every_draft_has_a_choice", "choice_decides"),
    ),
}


def _step(
    recipe: Recipe,
    name: str,
    role: RoleName,
    fn: str,
    inputs: Mapping[str, str],
    section: Asked,
    more: Mapping[str, Any] | None = None,
) -> Spec:
    made, what, checks = _MADE[role]
    model = needed(recipe.family.served(role), f"roles.{role}").asked()
    return Spec(
        key=f"{STAGE}/{name}_{made}",
        stage=STAGE,
        fn=f"{FOLDER}.{fn}",
        inputs=inputs,
        recipe={**(more or {}), **section.asked, role: model},
        seed=recipe.family.seed,
        checks=tuple(f"{FOLDER}.checks:{check}" for check in checks),
        kinds=("parquet",),
        pool="gpu",
        description=what.format(name),
    )


def gain(recipe: Recipe, names: list[str]) -> Spec:
    """What the sets of these names gain."""
    roles = recipe.family.roles
    inputs = {f"{each}_in_{table}": f"{STAGE}/{each}_{table}" for each in names for table in TABLES}
    return Spec(
        key=GAIN,
        stage=STAGE,
        fn=f"{FOLDER}.gain:measure_gain",
        inputs=inputs,
        recipe={
            "sets": {name: recipe.answered[name].domain for name in names},
            "scripted": [role for role in STEPS if roles[role].scripted],
        },
        seed=recipe.family.seed,
        kinds=("parquet",),
        description="How often drafts, their edits and the chosen answers are right, by truth.",
    )


def used(name: str) -> dict[str, str]:
    """What `sft_data/<name>` reads where chosen edits take their drafts' places."""
    return {each: f"{STAGE}/{name}_{each}" for each in ("edits", "edit_verdicts", "choices")}
