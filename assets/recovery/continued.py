"""Continued pretraining: next-token cross-entropy on the corpus (arXiv 2505.00949 §2.2, Ultra)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from assets.recovery import corpus
from assets.recovery.objective import LiveTeacher, Towards
from resources.models.folders import stored_dtype
from resources.models.loading import load
from resources.recipe.sections.supervised import Recovery
from resources.training.fit import Run, language_model_loss
from resources.training.loop.measuring import Objective
from resources.training.publishing import published
from resources.training.ranks import launch, ranked
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def continue_pretraining(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """Train `inputs["model"]` on `inputs["corpus"]`; key metric: held-out cross-entropy in nats.

    `inputs["teacher"]`, the parent, is not learned from: held-out examples measure how far the
    model is from it. It is in memory only while they do.
    """
    if launch.several(execution):
        target = "assets.recovery.continued:continue_pretraining"
        return ranked.build(target, workdir, inputs, recipe, execution)
    corpus.check_chat(inputs["corpus"], inputs["model"])
    model = load(inputs["model"].path(), dtype="float32")
    training, held_out = corpus.read(inputs["corpus"], recipe, workdir, execution).examples

    def measuring() -> tuple[Objective, Sequence[nn.Module]]:
        teacher = LiveTeacher(inputs["teacher"].path(), execution, dtype=section.dtype)
        return Towards(teacher).objective(measuring=True), [teacher.model]

    section = Recovery.within(recipe)
    fitted = Run(
        model,
        training,
        held_out,
        language_model_loss,
        section,
        workdir,
        execution,
        seed=recipe["seed"],
        key=recipe["asset_key"],
        stage="continued_pretraining",
        measure="cross_entropy",
        measure_at=section.measure_at,
        measuring=measuring,
        published=stored_dtype(inputs["model"].path()),
    ).fit()
    return published(model, fitted, workdir, inputs["model"].path())
