"""Assembly: parent, block library and architecture become one checkpoint.

Puts the chosen sub-blocks together without training and measures what that costs in KL, on
documents that neither trained nor scored any block. Knows checkpoints and tables; knows nothing of
the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warehouse.store import Artifact, Output


def assemble(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """The assembled checkpoint as files, with the KL to the parent on held-out documents.

    Inputs: parent, block_library, architecture, corpus. Recipe: tokens, sequence_length (of the KL
    measurement).
    """
    from assets.puzzle.calibration import sequences
    from assets.puzzle.halves import Library, compose
    from assets.puzzle.scores import intervals, model_kl
    from resources.models.loading import load, save

    folder = inputs["parent"].path()
    parent = load(folder, device=execution.get("device", "cpu"))
    rows = inputs["architecture"].table("architectures").sort_by("layer").to_pylist()
    model = compose(
        Library(parent, inputs["block_library"].path()),
        [(row["attention"], row["ffn"]) for row in rows],
    )
    data = sequences(
        inputs["corpus"].table("corpus", columns=["text_ids"]),
        "held_out",
        tokens=recipe["tokens"],
        sequence_length=recipe["sequence_length"],
        seed=recipe["seed"],
    )
    kl = model_kl(parent, model, data)
    low, high = intervals(kl, recipe["seed"])
    save(model, workdir / "checkpoint", folder)
    size = float(model.num_parameters())
    return Output(
        files={"": workdir / "checkpoint"},
        metrics={
            "kl": float(kl.mean()),
            "kl_low": float(low),
            "kl_high": float(high),
            "parameters": size,
            "parameters_share": size / parent.num_parameters(),
            "held_out_tokens": float(data.tokens),
        },
    )
