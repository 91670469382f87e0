"""Checks of given checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from warehouse.store import Artifact, CheckResult


def weights_complete(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every layer that the configuration names has its weights, and none is left over."""
    from resources.models.errors import CheckpointError
    from resources.models.loading import check_weights, read_config
    from resources.models.weights import Weights

    folder = artifact.path()
    try:
        config = read_config(folder)
        weights = Weights(folder)
        check_weights(weights, config)
    except CheckpointError as error:
        return CheckResult(name="weights_complete", passed=False, description=str(error))
    return CheckResult(
        name="weights_complete",
        passed=True,
        description=f"{len(weights.entries)} tensors for {config.num_hidden_layers} layers",
        metadata={"tensors": len(weights.entries), "layers": config.num_hidden_layers},
    )
