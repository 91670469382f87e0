"""What the report shows of Puzzle, read from artifacts: pictures, numbers and rows, model by model.

An artifact, table or picture that is not there is left out. Knows no HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from warehouse.store import Artifact

# What is shown, in this order: asset, heading, what it is.
ASSETS = {
    "architecture": ("How the layers were chosen", ""),
    "block_scores": (
        "What every variant costs in quality",
        "Replace-1-block scores: the KL of the parent with one block replaced and the rest as it "
        "was, by layer (across) and variant (attention / FFN).",
    ),
    "search_study": (
        "How far sums of scores can be trusted",
        "The sum of scores of random assemblies, of what was chosen ('search') and of other ways "
        "to choose against the true KL of the whole model; and the least sum at each size.",
    ),
    "cost_report": (
        "Predicted and measured costs",
        "Predicted: the costs summed over the chosen blocks. Measured: what the assembled model "
        "really needs on this machine.",
    ),
    "fused": (
        "FFN Fusion",
        "Runs of attention-free layers as one layer with a wide FFN each. Dependency: how much a "
        "layer's contribution changes without an earlier layer (cosine distance).",
    ),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Exhibit:
    """An artifact on the page: pictures and metrics by name, rows of its tables `search_baselines`,
    `measured_choices` and `fusion_tests`, latencies (seconds), the key of the scores behind it."""

    asset: str
    pictures: dict[str, bytes]
    numbers: dict[str, float]
    baselines: list[Row] = field(default_factory=list)
    tried: list[Row] = field(default_factory=list)
    tests: list[Row] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    scores: str = ""
    objective: str = ""


def exhibits(by_key: Mapping[str, Artifact], models: Iterable[str]) -> dict[str, list[Exhibit]]:
    """The exhibits of every model that has any of `ASSETS` among the artifacts."""
    found = {}
    for model in models:
        there = {
            asset: by_key[f"{model}/{asset}"] for asset in ASSETS if f"{model}/{asset}" in by_key
        }
        if there:
            found[model] = [_exhibit(asset, artifact) for asset, artifact in there.items()]
    return found


def _exhibit(asset: str, artifact: Artifact) -> Exhibit:
    tests = _rows(artifact, "fusion_tests")
    return Exhibit(
        asset,
        pictures={name: artifact.image(name) for name in artifact.manifest["images"]},
        numbers=artifact.metrics,
        baselines=_rows(artifact, "search_baselines"),
        tried=_rows(artifact, "measured_choices"),
        tests=tests,
        times={k: v for k, v in artifact.observations.items() if tests and "_seconds_" in k},
        scores=artifact.manifest["inputs"].get("block_scores", {}).get("asset_key", ""),
        objective=artifact.manifest["recipe"].get("objective", "kl"),
    )


def _rows(artifact: Artifact | None, name: str) -> list[Row]:
    if artifact is None or name not in artifact.manifest["tables"]:
        return []
    rows: list[Row] = artifact.table(name).to_pylist()
    return rows
