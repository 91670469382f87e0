"""Checks of given checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from assets.parents.adopt import TEACHER
from warehouse.store import Artifact, CheckResult


def weights_complete(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every layer that the configuration names has its weights, and none is left over.

    Of a teacher of another family only that its files are whole is known.
    """
    from resources.models.errors import CheckpointError
    from resources.models.loading import check_weights
    from resources.models.weights import Weights
    from resources.pretrained.checking import family_config

    folder = artifact.path()
    try:
        weights = Weights(folder)
        values = family_config(folder, "teacher" if artifact.key == TEACHER else "parent")
        if values is None:
            found = f"{len(weights.entries)} tensors of another family, not looked into"
            return CheckResult(name="weights_complete", passed=True, description=found)
        check_weights(weights, values)
    except CheckpointError as error:
        return CheckResult(name="weights_complete", passed=False, description=str(error))
    return CheckResult(
        name="weights_complete",
        passed=True,
        description=f"{len(weights.entries)} tensors for {values['num_hidden_layers']} layers",
        metadata={"tensors": len(weights.entries), "layers": values["num_hidden_layers"]},
    )
