"""The recovery stage's assets: `<model>/distilled` and `<model>/continued`, with what they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resources.recipe.chats import tokens_of
from resources.recipe.schema import Recipe
from resources.recipe.sections.supervised import Distillation
from resources.store.spec import Spec

VERSION = "4"
OUTPUTS_VERSION = "3"
CACHED = ("temperature", "sequence_length", "top_k", "dtype")  # what a teacher's outputs depend on


def specs(recipe: Recipe) -> list[Spec]:
    """Distilled and continued-pretrained checkpoints of the models that have them."""
    made: list[Spec] = []
    for name, model in recipe.models.items():
        tokens = tokens_of(recipe, name)
        common: dict[str, Any] = {
            "stage": "recovery",
            "seed": recipe.family.seed,
            "version": VERSION,
            "model": name,
            "pool": "gpu",
        }
        if model.distillation is not None:
            section, before = model.distillation, model.stage("distilled").before
            if section.teacher == "cached":
                made.append(_teacher_outputs(recipe, name, tokens, section, common))
            made.append(
                Spec(
                    key=f"{name}/distilled",
                    fn="assets.recovery.distill:distil",
                    inputs={
                        "student": recipe.checkpoint_key(name, before),
                        **_teacher(recipe, name, tokens, section),
                    },
                    recipe=section.model_dump(mode="json"),
                    checks=(
                        "resources.training.checks:loss_finite",
                        "resources.training.checks:loss_decreased",
                        "assets.recovery.checks:kl_not_worse",
                    ),
                    kinds=("torch", "deepspeed"),
                    description="The searched model after distillation from its parent.",
                    **common,
                )
            )
        if model.continued_pretraining is not None:
            before = model.stage("continued").before
            made.append(
                Spec(
                    key=f"{name}/continued",
                    fn="assets.recovery.continued:continue_pretraining",
                    inputs={
                        "model": recipe.checkpoint_key(name, before),
                        "teacher": recipe.checkpoint_key(name),
                        "corpus": tokens,
                    },
                    recipe=model.continued_pretraining.model_dump(mode="json"),
                    checks=(
                        "resources.training.checks:loss_finite",
                        "resources.training.checks:loss_decreased",
                        "assets.recovery.checks:cross_entropy_not_worse",
                    ),
                    kinds=("torch", "deepspeed"),
                    description="The distilled model after continued pretraining on the corpus.",
                    **common,
                )
            )
    return made


def _teacher(recipe: Recipe, name: str, tokens: str, section: Distillation) -> dict[str, str]:
    """The inputs that stand for the teacher, and the corpus."""
    model = recipe.models[name]
    if section.teacher == "cached":
        return {"teacher_outputs": f"{name}/teacher_outputs", "corpus": tokens}
    found = {"teacher": recipe.checkpoint_key(name), "corpus": tokens}
    if section.layer_weight and model.puzzle is not None:
        # The last word on which of the parent's layers each layer of the student holds.
        found["architecture"] = f"{name}/{'fused' if model.fusion else 'architecture'}"
    return found


def _teacher_outputs(
    recipe: Recipe, name: str, tokens: str, section: Distillation, common: Mapping[str, Any]
) -> Spec:
    settings = section.model_dump(mode="json")
    return Spec(
        key=f"{name}/teacher_outputs",
        fn="assets.recovery.teacher_outputs:teacher_outputs",
        inputs={"teacher": recipe.checkpoint_key(name), "corpus": tokens},
        recipe={key: settings[key] for key in CACHED if key in settings},
        checks=("assets.recovery.checks:outputs_are_probabilities",),
        kinds=("torch", "parquet"),
        description="The parent's likeliest next tokens on the corpus, with their probabilities.",
        **{**common, "version": OUTPUTS_VERSION},
    )
