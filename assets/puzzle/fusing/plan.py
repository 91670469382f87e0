"""Which runs of layers to fuse, and fusing as a checkpoint-to-checkpoint asset.

Plans windows of low dependency inside attention-free runs, fuses them and measures the KL to the
parent before and after. Knows checkpoints, tables and the recipe's fusion section; the algebra is
in `fusion.py`, what else is measured in `tests.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from assets.puzzle.calibration import Sequences
    from resources.execution import Execution


def fuse_checkpoint(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """The fused checkpoint as files; table `architectures` says which layer went into which.

    Inputs: parent, assembled, architecture, corpus. Recipe: the fusion section, whose windows name
    the parent's layers. Table `fusion_tests` is that of `pretests`. Where there is no run to fuse,
    the model is copied and `fused_runs` is 0. Runs that the search chose are one layer of the
    assembled model already; they may become part of longer ones.
    """
    from assets.puzzle.calibration import judging, sequences
    from assets.puzzle.choice.choose import ffn_share
    from assets.puzzle.choice.tables import architecture_table
    from assets.puzzle.fusing.tests import latency, pretests
    from assets.puzzle.fusion import dependency, fuse, new_indices
    from assets.puzzle.pictures import architecture_strip, dependency_matrix
    from assets.puzzle.runs import layer_indices
    from assets.puzzle.scoring.build import intervals, model_kl
    from resources.models.folders import stored_dtype
    from resources.models.loading import load, publish
    from resources.models.precision import Precision, settle

    precision = Precision.of(recipe, execution.device)
    model, parent = (
        load(folder, device=execution.device, dtype=precision.weights(folder))
        for folder in (inputs["assembled"].path(), inputs["parent"].path())
    )
    blocks = model.config.block_configs or []
    rows = inputs["architecture"].table("architectures").sort_by("layer").to_pylist()
    held = layer_indices(rows)
    if held[-1] + 1 != len(blocks):
        raise ValueError(
            f"{inputs['architecture'].key} makes {held[-1] + 1} layers, {inputs['assembled'].key} "
            f"has {len(blocks)}: assemble that architecture"
        )
    corpus = inputs["corpus"].table("corpus", columns=["text_ids"])

    def data(share: str) -> Sequences:
        return sequences(
            corpus,
            share,
            tokens=recipe["tokens"],
            sequence_length=recipe["sequence_length"],
            seed=recipe["seed"],
        )

    matrix = dependency(model, data("score"))
    runs = plan_runs(
        blocks,
        matrix,
        min_run=recipe["min_run"],
        max_run=recipe["max_run"],
        leave_last=recipe["leave_last"],
        max_dependency=recipe["max_dependency"],
        windows=None if recipe["windows"] is None else in_model(recipe["windows"], held),
        sizes=[held.count(layer) for layer in range(len(blocks))],
    )
    name = recipe["model"]
    tests = pretests(name, parent, model, runs, held, data("score"), recipe["seed"])
    fused = fuse(model, runs)
    settle(fused, stored_dtype(inputs["assembled"].path()))
    held_out = judging(inputs["corpus"], recipe)
    before = model_kl(parent, model, held_out)
    after = model_kl(parent, fused, held_out) if runs else before
    low, high = intervals(after, recipe["seed"])
    publish(fused, workdir / "checkpoint", inputs["assembled"].path())
    place = new_indices(len(blocks), runs)
    indices = [place[layer] for layer in held]
    layers = range(indices[-1] + 1)
    within = [matrix[i, j] for run in runs for i in run for j in run if i < j]
    shared = [index if indices.count(index) > 1 else None for index in indices]
    times = {}
    if runs:
        times = latency(
            {"before": model, "after": fused},
            tokens=recipe["sequence_length"],
            seed=recipe["seed"],
            threads=execution.threads,
        )
    return Output(
        tables={"architectures": architecture_table(name, rows, shared), "fusion_tests": tests},
        files={"": workdir / "checkpoint"},
        metrics={
            "kl": float(after.mean()),
            "kl_low": float(low),
            "kl_high": float(high),
            "kl_before": float(before.mean()),
            "fused_runs": float(len(runs)),
            "fused_layers": float(len(shared) - shared.count(None)),
            "layers_before": float(len(blocks)),
            "layers": float(len(layers)),
            "max_dependency": float(max(within, default=0.0)),
            "parameters": float(fused.num_parameters()),
        },
        observations=times | kept_apart(recipe["windows"], runs, held),
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
                    for layer in layers
                ],
                marks=[indices.count(layer) > 1 for layer in layers],
            ),
        },
    )


def kept_apart(
    windows: Sequence[Sequence[int]] | None, runs: Sequence[Sequence[int]], held: Sequence[int]
) -> dict[str, list[int]]:
    """The parent's layers in the recipe's windows that were not fused, if there are any."""
    fused = {layer for run in runs for layer in run}
    apart = [
        layer
        for first, last in windows or []
        for layer in range(first, last + 1)
        if held[layer] not in fused and held.count(held[layer]) == 1
    ]
    return {"not_fused_in_windows": apart} if apart else {}


def in_model(windows: Sequence[Sequence[int]], held: Sequence[int]) -> list[list[int]]:
    """Windows of the parent's layers as windows of the assembled model's, which may be fewer.

    Raises:
        ValueError: a layer beyond the last, or a window that ends inside a layer the search fused.
    """
    found = []
    for first, last in windows:
        if last >= len(held):
            raise ValueError(
                f"window [{first}, {last}]: the parent has layers 0 to {len(held) - 1}"
            )
        for inside, outside in ((first, first - 1), (last, last + 1)):
            if 0 <= outside < len(held) and held[inside] == held[outside]:
                raise ValueError(
                    f"window [{first}, {last}] cuts the run that layers {inside} and {outside} are "
                    "in, which the search fused: give a window that holds all of it or nothing"
                )
        found.append([held[first], held[last]])
    return found


def plan_runs(
    block_configs: Sequence[Mapping[str, Any]],
    matrix: np.ndarray,
    *,
    min_run: int = 2,
    max_run: int | None = None,
    leave_last: bool = True,
    max_dependency: float,
    windows: Sequence[Sequence[int]] | None = None,
    sizes: Sequence[int] | None = None,
) -> list[list[int]]:
    """Runs to fuse: as many layers as possible into windows that depend little on each other.

    Each stretch of attention-free layers, without its last layer when `leave_last` (that layer is
    the sensitive one, arXiv 2503.18908 §5), is cut into windows of `min_run` to `max_run` layers in
    which no M_ij exceeds `max_dependency`; of the cuts that leave the fewest layers, the one with
    the least sum of dependencies is taken.

    Args:
        matrix: `[L, L]` from `fusion.dependency`.
        windows: [first, last] pairs that replace the planning: what lies in them without attention
            is fused, in runs of `min_run` layers at least. They may have been found for another
            architecture, so a layer in them that kept its attention parts a window in two.
        sizes: how many layers of the parent a layer is made of, for `min_run` and `max_run`; one
            by default.
    """
    made_of = dict(enumerate(sizes or [1] * len(block_configs)))
    runs: list[list[int]] = []
    if windows is not None:
        for first, last in windows:
            for stretch in attention_free(block_configs):
                run = [layer for layer in stretch if first <= layer <= last]
                if len(run) > 1 and sum(made_of[layer] for layer in run) >= min_run:
                    runs.append(run)
        return runs
    for stretch in attention_free(block_configs):
        layers = stretch[:-1] if leave_last else stretch
        longest = max_run or sum(made_of.values())
        runs += _windows(layers, matrix, made_of, min_run, longest, max_dependency)
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
    layers: list[int],
    matrix: np.ndarray,
    sizes: Mapping[int, int],
    shortest: int,
    longest: int,
    limit: float,
) -> list[list[int]]:
    """The cut of a stretch with the fewest layers left, then the least dependency (dynamic)."""
    best: list[tuple[int, float, list[list[int]]]] = [(0, 0.0, [])]
    for end in range(1, len(layers) + 1):
        count, total, cut = best[end - 1]
        options = [(count + 1, total, cut)]
        for start in range(end - 2, -1, -1):
            window = layers[start:end]
            inside = [matrix[i, j] for i in window for j in window if i < j]
            if shortest <= sum(sizes[layer] for layer in window) <= longest and (
                max(inside) <= limit
            ):
                count, total, cut = best[start]
                options.append((count + 1, total + float(sum(inside)), [*cut, window]))
        best.append(min(options, key=lambda option: option[:2]))
    return best[-1][2]
