"""Supervised fine-tuning: cross-entropy on the outputs of a blend (arXiv 2505.00949 §4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.sft import samples
from resources.models.folders import stored_dtype
from resources.models.loading import load
from resources.recipe.sections.supervised import SftTraining
from resources.training.fit import Run, language_model_loss
from resources.training.publishing import published
from resources.training.ranks import launch, ranked
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

ROLES = ("model", "blend")


def sft(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """Train `inputs["model"]` on `inputs["blend"]`; the other inputs are the blended datasets.

    `recipe` is a training section with `packed`. Key metric: held-out cross-entropy in nats a token
    of output, on questions that were not trained on; that of each source stands beside it.
    """
    if launch.several(execution):
        return ranked.build("assets.sft.train:sft", workdir, inputs, recipe, execution)
    path = inputs["model"].path()
    datasets = {name: artifact for name, artifact in inputs.items() if name not in ROLES}
    split = samples.read(inputs["model"], inputs["blend"], datasets, recipe, workdir, execution)
    model = load(path, dtype="float32")
    section = SftTraining.within(recipe)
    fitted = Run(
        model,
        split.training,
        split.held_out,
        language_model_loss,
        section,
        workdir,
        execution,
        seed=recipe["seed"],
        key=recipe["asset_key"],
        stage="sft",
        measure="cross_entropy",
        further=split.apart,
        packed=section.packed,
        published=stored_dtype(path),
    ).fit()
    return published(
        model,
        fitted,
        workdir,
        path,
        **perplexities(fitted.metrics),
        samples=float(len(split.training)),
        too_long=float(split.too_long),
        refused=float(split.refused),
    )


def perplexities(metrics: Mapping[str, float]) -> dict[str, float]:
    """The perplexity beside each held-out cross-entropy.

    >>> perplexities({"held_out_support_cross_entropy": 0.0, "loss_last": 1.0})
    {'held_out_support_perplexity': 1.0}
    """
    return {
        name.replace("cross_entropy", "perplexity"): math.exp(min(value, 700.0))
        for name, value in metrics.items()
        if name.startswith("held_out_") and "cross_entropy" in name
    }
