"""Assembly: parent, block library and architecture become one checkpoint.

Puts the chosen sub-blocks together without training and measures what that costs in KL, on
documents that neither trained nor scored any block. Knows checkpoints and tables; knows nothing of
the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def assemble(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """The assembled checkpoint as files, with the KL to the parent on held-out documents.

    Layers that the search chose as one fused run are fused. Inputs: parent, block_library (or its
    partitions), architecture, corpus. Recipe: tokens, sequence_length (of the KL measurement).
    """
    from assets.puzzle.calibration import judging
    from assets.puzzle.fusion import fuse
    from assets.puzzle.halves import compose
    from assets.puzzle.intervals import kl_metrics
    from assets.puzzle.opening import open_library
    from assets.puzzle.scoring.build import model_kl
    from resources.models.folders import stored_dtype
    from resources.models.loading import publish
    from resources.models.precision import settle

    folder = inputs["parent"].path()
    library = open_library(inputs, recipe, execution.device)
    rows = inputs["architecture"].table("architectures").sort_by("layer").to_pylist()
    model = compose(library, [(row["attention"], row["ffn"]) for row in rows])
    runs = fused_runs([row["fused_into"] for row in rows])
    if runs:
        model = fuse(model, runs)
    settle(model, stored_dtype(folder))
    data = judging(inputs["corpus"], recipe)
    kl = model_kl(library.parent, model, data)
    publish(model, workdir / "checkpoint", folder)
    size = float(model.num_parameters())
    return Output(
        files={"": workdir / "checkpoint"},
        metrics={
            **kl_metrics(kl, recipe["seed"]),
            "parameters": size,
            "parameters_share": size / library.parent.num_parameters(),
            "held_out_tokens": float(data.tokens),
            "fused_runs": float(len(runs)),
        },
    )


def fused_runs(fused_into: Sequence[int | None]) -> list[list[int]]:
    """The runs of layers to fuse: consecutive ones with one `fused_into`, two at least.

    >>> fused_runs([None, 1, 1, 1, None, 3, 3, 4])
    [[1, 2, 3], [5, 6]]
    """
    runs = [
        [layer for layer, _ in run]
        for target, run in groupby(enumerate(fused_into), key=lambda pair: pair[1])
        if target is not None
    ]
    return [run for run in runs if len(run) > 1]
