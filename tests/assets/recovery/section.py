"""A distillation section as the recovery tests use it, and what they read of its artifact."""

from __future__ import annotations

from typing import Any

import torch

from resources.models.loading import load
from tests.resources.training import tiny_family as tiny
from warehouse.store import Artifact

DISTILLATION: dict[str, Any] = {
    **tiny.TRAINING,
    "measure_at": [0.25, 0.5, 1.0],
    "temperature": 1.0,
    "direction": "forward",
    "kl_weight": 1.0,
    "lm_weight": 0.0,
    "hidden_weight": 0.5,
    "layer_weight": 0.0,
    "chunk": None,
}
PLAIN: dict[str, Any] = {**DISTILLATION, "hidden_weight": 0.0, "tokens": 1000}


def weights(artifact: Artifact) -> list[torch.Tensor]:
    return [p.detach() for p in load(artifact.path()).parameters()]


def furthest(one: Artifact, other: Artifact) -> float:
    """The largest difference of two checkpoints' weights."""
    pairs = zip(weights(one), weights(other), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def losses(artifact: Artifact, metric: str = "loss") -> list[float]:
    rows = artifact.table("training_metrics").to_pylist()
    return [row["value"] for row in rows if row["metric"] == metric]
