"""Continued pretraining: next-token cross-entropy on the corpus (arXiv 2505.00949 §2.2, Ultra)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.recovery import corpus
from resources.models.loading import load, save
from resources.training.fit import fit, language_model_loss
from warehouse.store import Artifact, Output


def continue_pretraining(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Mapping[str, Any],
) -> Output:
    """Train `inputs["model"]` on `inputs["corpus"]`; key metric: held-out cross-entropy in nats."""
    model = load(inputs["model"].path(), device=str(execution.get("device") or "cpu"))
    training, held_out = corpus.read(inputs["corpus"], recipe)
    fitted = fit(
        model,
        training,
        held_out,
        language_model_loss,
        recipe,
        workdir,
        execution,
        stage="continued_pretraining",
        measure="cross_entropy",
    )
    folder = workdir / "model"
    save(model, folder, inputs["model"].path())
    return Output(
        tables={"training_metrics": fitted.table, "training_events": fitted.events},
        files={"": folder},
        metrics=fitted.metrics,
        observations=fitted.observations,
        images=fitted.images,
    )
