"""Which runs of layers to fuse, and fusing as a checkpoint-to-checkpoint asset.

Plans windows of low dependency inside attention-free runs, fuses them and measures the KL to the
parent before and after. Knows checkpoints, tables and the recipe's fusion section; the algebra is
in `fusion.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from warehouse.store import Artifact, Output


def fuse_checkpoint(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """The fused checkpoint as files; table `architectures` says which layer went into which.

    Inputs: parent, assembled, architecture, corpus. Recipe: the fusion section. Where the
    architecture has no run to fuse, the model is copied and `fused_runs` is 0.
    """
    from assets.puzzle.architecture import architecture_table, ffn_share
    from assets.puzzle.calibration import sequences
    from assets.puzzle.fusion import dependency, fuse, new_indices
    from assets.puzzle.pictures import architecture_strip, dependency_matrix
    from assets.puzzle.scores import intervals, model_kl
    from resources.models.loading import load, save

    device = execution.get("device", "cpu")
    model = load(inputs["assembled"].path(), device=device)
    parent = load(inputs["parent"].path(), device=device)
    corpus = inputs["corpus"].table("corpus", columns=["text_ids"])

    def data(share: str) -> Any:
        return sequences(
            corpus,
            share,
            tokens=recipe["tokens"],
            sequence_length=recipe["sequence_length"],
            seed=recipe["seed"],
        )

    matrix = dependency(model, data("score"))
    runs = plan_runs(
        model.config.block_configs or [],
        matrix,
        min_run=recipe["min_run"],
        max_run=recipe["max_run"],
        leave_last=recipe["leave_last"],
        max_dependency=recipe["max_dependency"],
        windows=recipe["windows"],
    )
    fused = fuse(model, runs)
    held_out = data("held_out")
    before = model_kl(parent, model, held_out)
    after = model_kl(parent, fused, held_out) if runs else before
    low, high = intervals(after, recipe["seed"])
    save(fused, workdir / "checkpoint", inputs["assembled"].path())
    name = recipe["asset_key"].split("/")[0]
    rows = inputs["architecture"].table("architectures").sort_by("layer").to_pylist()
    indices = new_indices(len(rows), runs)
    members = {layer for run in runs for layer in run}
    within = [matrix[i, j] for run in runs for i in run for j in run if i < j]
    return Output(
        tables={
            "architectures": architecture_table(
                name,
                rows,
                [index if layer in members else None for layer, index in enumerate(indices)],
            )
        },
        files={"": workdir / "checkpoint"},
        metrics={
            "kl": float(after.mean()),
            "kl_low": float(low),
            "kl_high": float(high),
            "kl_before": float(before.mean()),
            "fused_runs": float(len(runs)),
            "fused_layers": float(len(members)),
            "layers_before": float(len(indices)),
            "layers": float(indices[-1] + 1),
            "max_dependency": float(max(within, default=0.0)),
            "parameters": float(fused.num_parameters()),
        },
        images={
            "dependency": dependency_matrix(f"{name}: dependency between layers", matrix),
            "architecture": architecture_strip(
                f"{name}: fused, share of the parent's attention and FFN",
                [
                    (block["attention"]["num_key_value_heads"] or 0)
                    / (fused.config.num_key_value_heads or 1)
                    for block in fused.config.block_configs or []
                ],
                [
                    sum(
                        ffn_share(row["ffn"])
                        for row, index in zip(rows, indices, strict=True)
                        if index == layer
                    )
                    for layer in range(indices[-1] + 1)
                ],
                marks=[
                    any(indices[run[0]] == layer for run in runs)
                    for layer in range(indices[-1] + 1)
                ],
            ),
        },
    )


def plan_runs(
    block_configs: Sequence[Mapping[str, Any]],
    matrix: np.ndarray,
    *,
    min_run: int = 2,
    max_run: int | None = None,
    leave_last: bool = True,
    max_dependency: float,
    windows: Sequence[Sequence[int]] | None = None,
) -> list[list[int]]:
    """Runs to fuse: as many layers as possible into windows that depend little on each other.

    Each stretch of attention-free layers, without its last layer when `leave_last` (that layer is
    the sensitive one, arXiv 2503.18908 §5), is cut into windows of `min_run` to `max_run` layers in
    which no M_ij exceeds `max_dependency`; of the cuts that leave the fewest layers, the one with
    the least sum of dependencies is taken.

    Args:
        matrix: `[L, L]` from `fusion.dependency`.
        windows: [first, last] pairs that replace the planning (`fuse` checks them).
    """
    if windows is not None:
        return [list(range(first, last + 1)) for first, last in windows]
    runs: list[list[int]] = []
    for stretch in attention_free(block_configs):
        layers = stretch[:-1] if leave_last else stretch
        runs += _windows(layers, matrix, min_run, max_run or len(layers), max_dependency)
    return runs


def attention_free(block_configs: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Maximal stretches of layers without attention whose FFNs can be fused."""
    stretches: list[list[int]] = [[]]
    for layer, block in enumerate(block_configs):
        if block["attention"]["kind"] == "noop" and block["ffn"]["kind"] != "linear":
            stretches[-1].append(layer)
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def _windows(
    layers: list[int], matrix: np.ndarray, shortest: int, longest: int, limit: float
) -> list[list[int]]:
    """The cut of a stretch with the fewest layers left, then the least dependency (dynamic)."""
    best: list[tuple[int, float, list[list[int]]]] = [(0, 0.0, [])]
    for end in range(1, len(layers) + 1):
        count, total, cut = best[end - 1]
        options = [(count + 1, total, cut)]
        for size in range(shortest, min(longest, end) + 1):
            window = layers[end - size : end]
            inside = [matrix[i, j] for i in window for j in window if i < j]
            if max(inside) <= limit:
                count, total, cut = best[end - size]
                options.append((count + 1, total + float(sum(inside)), [*cut, window]))
        best.append(min(options, key=lambda option: option[:2]))
    return best[-1][2]
