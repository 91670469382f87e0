"""Checks of the recovered checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from resources.training.checks import loss_decreased, loss_finite, not_worse
from warehouse.store import Artifact, CheckResult

__all__ = ["cross_entropy_not_worse", "kl_not_worse", "loss_decreased", "loss_finite"]


def kl_not_worse(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Distillation left the held-out divergence from the parent no larger than it found it."""
    direction = artifact.manifest["recipe"]["direction"]
    return not_worse(artifact, f"kl_{direction}")


def cross_entropy_not_worse(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Continued pretraining left the held-out cross-entropy no larger than it found it."""
    return not_worse(artifact, "cross_entropy")
