"""Supervised fine-tuning: cross-entropy on the outputs of a blend (arXiv 2505.00949 §4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.sft import samples
from resources.models.loading import load, save
from resources.training import launch, ranked
from resources.training.fit import fit, language_model_loss
from warehouse.store import Artifact, Output

ROLES = ("model", "blend")


def sft(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Mapping[str, Any],
) -> Output:
    """Train `inputs["model"]` on `inputs["blend"]`; the other inputs are the blended datasets.

    `recipe` is a training section with `packed`. Key metric: held-out cross-entropy in nats a token
    of output, on questions that were not trained on.
    """
    if launch.several(execution):
        return ranked.build("assets.sft.train:sft", workdir, inputs, recipe, execution)
    path = inputs["model"].path()
    datasets = {name: artifact for name, artifact in inputs.items() if name not in ROLES}
    split = samples.read(inputs["model"], inputs["blend"], datasets, recipe, workdir, execution)
    model = load(path, dtype="float32")
    fitted = fit(
        model,
        split.training,
        split.held_out,
        language_model_loss,
        recipe,
        workdir,
        execution,
        stage="sft",
        measure="cross_entropy",
        packed=bool(recipe["packed"]),
    )
    folder = workdir / "model"
    save(model, folder, path)
    return Output(
        tables={"training_metrics": fitted.table, "training_events": fitted.events},
        files={"": folder},
        metrics={
            **fitted.metrics,
            "samples": float(len(split.training)),
            "too_long": float(split.too_long),
        },
        observations=fitted.observations,
        images=fitted.images,
    )
