"""Fusing as a checkpoint-to-checkpoint asset, with the KL to the parent before and after.

Knows checkpoints, tables and the recipe's fusion section; which runs are fused is decided in
`windows.py`, the algebra is in `fusion.py`, what else is measured in `tests.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.puzzle.fusing.windows import in_model, kept_apart, plan_runs
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from assets.puzzle.calibration import Sequences
    from resources.execution import Execution
    from resources.models.modeling import HeterogeneousDecoderForCausalLM


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
    from assets.puzzle.calibration import judging, scoring
    from assets.puzzle.choice.tables import architecture_table
    from assets.puzzle.fusing.tests import pretests
    from assets.puzzle.fusion import dependency, fuse, new_indices
    from resources.models.folders import stored_dtype
    from resources.models.loading import load, publish
    from resources.models.precision import Precision, settle

    name, precision = recipe["model"], Precision.of(recipe, execution.device)
    model, parent = (
        load(folder, device=execution.device, dtype=precision.weights(folder))
        for folder in (inputs["assembled"].path(), inputs["parent"].path())
    )
    blocks = model.config.block_configs or []
    rows = inputs["architecture"].table("architectures").sort_by("layer").to_pylist()
    held = _held(inputs, rows, len(blocks))
    calibration = scoring(inputs["corpus"], recipe)
    matrix = dependency(model, calibration)
    runs = _planned(blocks, matrix, held, recipe)
    tests = pretests(name, parent, model, runs, held, calibration, recipe["seed"])
    fused = fuse(model, runs)
    settle(fused, stored_dtype(inputs["assembled"].path()))
    kl = _kl(parent, model, fused, runs, judging(inputs["corpus"], recipe), recipe["seed"])
    publish(fused, workdir / "checkpoint", inputs["assembled"].path())
    place = new_indices(len(blocks), runs)
    indices = [place[layer] for layer in held]
    shared = [index if indices.count(index) > 1 else None for index in indices]
    within = [matrix[i, j] for run in runs for i in run for j in run if i < j]
    times = _latency(model, fused, recipe, execution) if runs else {}
    return Output(
        tables={"architectures": architecture_table(name, rows, shared), "fusion_tests": tests},
        files={"": workdir / "checkpoint"},
        metrics={
            **kl,
            "fused_runs": float(len(runs)),
            "fused_layers": float(len(shared) - shared.count(None)),
            "layers_before": float(len(blocks)),
            "layers": float(indices[-1] + 1),
            "max_dependency": float(max(within, default=0.0)),
            "parameters": float(fused.num_parameters()),
        },
        observations=times | kept_apart(recipe["windows"], runs, held),
        images=_pictures(name, matrix, fused, rows, indices),
    )


def _held(
    inputs: Mapping[str, Artifact], rows: Sequence[Mapping[str, Any]], layers: int
) -> list[int]:
    """For each layer of the parent, the assembled model's layer that holds it.

    Raises:
        ValueError: the architecture makes another number of layers.
    """
    from assets.puzzle.runs import layer_indices

    held = layer_indices(rows)
    if held[-1] + 1 != layers:
        raise ValueError(
            f"{inputs['architecture'].key} makes {held[-1] + 1} layers, {inputs['assembled'].key} "
            f"has {layers}: assemble that architecture"
        )
    return held


def _planned(
    blocks: Sequence[Mapping[str, Any]],
    matrix: np.ndarray,
    held: Sequence[int],
    recipe: Mapping[str, Any],
) -> list[list[int]]:
    """The runs that the recipe's fusion section asks for."""
    return plan_runs(
        blocks,
        matrix,
        min_run=recipe["min_run"],
        max_run=recipe["max_run"],
        leave_last=recipe["leave_last"],
        max_dependency=recipe["max_dependency"],
        windows=None if recipe["windows"] is None else in_model(recipe["windows"], held),
        sizes=[held.count(layer) for layer in range(len(blocks))],
    )


def _kl(
    parent: HeterogeneousDecoderForCausalLM,
    model: HeterogeneousDecoderForCausalLM,
    fused: HeterogeneousDecoderForCausalLM,
    runs: Sequence[Sequence[int]],
    data: Sequences,
    seed: int,
) -> dict[str, float]:
    """KL to the parent (nats a token) of the fused model with its interval, and before fusing."""
    from assets.puzzle.intervals import kl_metrics
    from assets.puzzle.scoring.build import model_kl

    before = model_kl(parent, model, data)
    after = model_kl(parent, fused, data) if runs else before
    return {**kl_metrics(after, seed), "kl_before": float(before.mean())}


def _latency(
    model: HeterogeneousDecoderForCausalLM,
    fused: HeterogeneousDecoderForCausalLM,
    recipe: Mapping[str, Any],
    execution: Execution,
) -> dict[str, Any]:
    """Seconds of both, at the recipe's sequence length."""
    from assets.puzzle.fusing.tests import latency

    return latency(
        {"before": model, "after": fused},
        tokens=recipe["sequence_length"],
        seed=recipe["seed"],
        threads=execution.threads,
    )


def _pictures(
    name: str,
    matrix: np.ndarray,
    fused: HeterogeneousDecoderForCausalLM,
    rows: Sequence[Mapping[str, Any]],
    indices: Sequence[int],
) -> dict[str, bytes]:
    """Dependency and architecture; `indices`: of each parent's layer, its place in the model."""
    from assets.puzzle.choice.choose import ffn_share
    from assets.puzzle.pictures import architecture_strip, dependency_matrix

    layers = range(indices[-1] + 1)
    strip = architecture_strip(
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
    )
    return {
        "dependency": dependency_matrix(f"{name}: dependency between layers", matrix),
        "architecture": strip,
    }
