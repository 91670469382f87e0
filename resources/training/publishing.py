"""A trained model as an artifact: its checkpoint, and the tables and figures of its run.

Shared by what trains with `fit.py`. Knows checkpoints and outputs; knows nothing of what is trained
or on what.
"""

from __future__ import annotations

from pathlib import Path

from resources.models.loading import publish
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.training.fit import Fitted
from warehouse.store import Output


def published(
    model: HeterogeneousDecoderForCausalLM,
    fitted: Fitted,
    workdir: Path,
    source: Path,
    **metrics: float,
) -> Output:
    """The model as a checkpoint with what the one in `source` brings besides weights.

    `metrics` stand beside those of the run.
    """
    folder = workdir / "model"
    publish(model, folder, source)
    return Output(
        tables={"training_metrics": fitted.table, "training_events": fitted.events},
        files={"": folder},
        metrics={**fitted.metrics, **metrics},
        observations=fitted.observations,
        images=fitted.images,
    )
