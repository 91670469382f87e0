"""The recovery stage's assets: `<model>/distilled` and `<model>/continued`."""

from __future__ import annotations

from resources.recipe.budget import predict
from resources.recipe.schema import Recipe
from resources.store.spec import Spec

VERSION = "1"
CORPUS = "problems/corpus"


def specs(recipe: Recipe) -> list[Spec]:
    """Distilled and continued-pretrained checkpoints of the models that have them."""
    planned = {key: plan.model_dump() for key, plan in predict(recipe).items()}
    made: list[Spec] = []
    for name, model in recipe.models.items():
        line = [f"{name}/{artifact}" for artifact in model.artifacts()]
        if model.distillation is not None:
            key = f"{name}/distilled"
            made.append(
                Spec(
                    key=key,
                    stage="recovery",
                    fn="assets.recovery.distill:distil",
                    inputs={
                        "student": line[line.index(key) - 1],
                        "teacher": f"{name}/parent",
                        "corpus": CORPUS,
                    },
                    recipe=model.distillation.model_dump(mode="json"),
                    seed=recipe.family.seed,
                    version=VERSION,
                    checks=(
                        "assets.recovery.checks:loss_finite",
                        "assets.recovery.checks:loss_decreased",
                        "assets.recovery.checks:kl_not_worse",
                    ),
                    model=name,
                    kinds=("torch", "deepspeed"),
                    pool="gpu",
                    description="The searched model after distillation from its parent.",
                    predicted=planned.get(key, {}),
                )
            )
        if model.continued_pretraining is not None:
            key = f"{name}/continued"
            made.append(
                Spec(
                    key=key,
                    stage="recovery",
                    fn="assets.recovery.continued:continue_pretraining",
                    inputs={"model": line[line.index(key) - 1], "corpus": CORPUS},
                    recipe=model.continued_pretraining.model_dump(mode="json"),
                    seed=recipe.family.seed,
                    version=VERSION,
                    checks=(
                        "assets.recovery.checks:loss_finite",
                        "assets.recovery.checks:loss_decreased",
                        "assets.recovery.checks:cross_entropy_not_worse",
                    ),
                    model=name,
                    kinds=("torch", "deepspeed"),
                    pool="gpu",
                    description="The distilled model after continued pretraining on the corpus.",
                    predicted=planned.get(key, {}),
                )
            )
    return made
