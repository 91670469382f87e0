"""Checks of given checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from warehouse.store import Artifact, CheckResult


def weights_complete(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every layer that the configuration names has its weights, and none is left over."""
    from safetensors import safe_open

    from resources.models.loading import read_config

    folder = artifact.path()
    config = read_config(folder)
    found: set[str] = set()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="np") as weights:
            found.update(weights.keys())
    layers = {int(name.split(".")[2]) for name in found if name.startswith("model.layers.")}
    missing = sorted(set(range(config.num_hidden_layers)) - layers)
    extra = sorted(layers - set(range(config.num_hidden_layers)))
    return CheckResult(
        name="weights_complete",
        passed=not missing and not extra and "model.embed_tokens.weight" in found,
        description=f"{len(found)} tensors; layers missing {missing or 'none'}, "
        f"left over {extra or 'none'}",
        metadata={"tensors": len(found), "layers": len(layers)},
    )
