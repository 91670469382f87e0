"""The block library: every trained sub-block of every layer, as safetensors.

Makes the children of a parent, initialises them from it and trains them group of layers by group of
layers; a finished group is kept in the work folder, so that a killed build goes on with the next.
Knows files and the recipe's variants; the training itself is in `distill.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from assets.puzzle.calibration import Sequences
    from assets.puzzle.distill import Child
    from resources.models.modeling import HeterogeneousLlamaForCausalLM


def build_library(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """Trained children as files `layer_<i>/attention_<v>.safetensors`, `ffn_<v>.safetensors`.

    Inputs: parent, corpus, channel_importance. Recipe: attention and ffn (variant names), groups,
    and a training section. Tables: `block_library` (a row a child: loss before and after on tokens
    not trained on) and `training_metrics`.
    """
    from assets.puzzle.calibration import sequences
    from resources.models.loading import load

    began = time.monotonic()
    parent = load(inputs["parent"].path(), device=execution.get("device", "cpu"))
    parent.requires_grad_(False)
    corpus = inputs["corpus"].table("corpus", columns=["text_ids"])
    length, batch_tokens = recipe["sequence_length"], recipe["batch_tokens"]
    data = sequences(
        corpus,
        "train",
        tokens=recipe["tokens"] or corpus_tokens(corpus),
        sequence_length=length,
        seed=recipe["seed"],
    )
    steps = max((recipe["tokens"] or recipe["epochs"] * data.tokens) // batch_tokens, 1)
    judged = sequences(
        corpus, "score", tokens=batch_tokens, sequence_length=length, seed=recipe["seed"]
    )
    tables = {
        name: inputs["channel_importance"].table(name)
        for name in ("channel_importance", "kv_head_importance")
    }
    groups = np.array_split(
        np.arange(parent.config.num_hidden_layers),
        min(recipe["groups"], parent.config.num_hidden_layers),
    )
    library = workdir / "library"
    library.mkdir(parents=True, exist_ok=True)
    reports = []
    for number, layers in enumerate(groups):
        done = workdir / f"group_{number:03d}.json"
        if not done.is_file():
            report = _build_group(
                parent, layers.tolist(), data, judged, tables, recipe, steps, library
            )
            partial = done.with_suffix(".partial")
            partial.write_text(json.dumps(report))
            os.replace(partial, done)
        reports.append(json.loads(done.read_text()))
        if execution.get("progress"):
            execution["progress"](
                f"layers {layers[0]}-{layers[-1]} of {groups[-1][-1]}", (number + 1) / len(groups)
            )
    children = [row for report in reports for row in report["children"]]
    seconds = time.monotonic() - began
    before, after = (
        float(np.mean([row[key] for row in children])) if children else 0.0
        for key in ("loss_before", "loss_after")
    )
    return Output(
        tables={
            "block_library": pa.Table.from_pylist(children, schema=LIBRARY_SCHEMA),
            "training_metrics": _metrics(reports, batch_tokens, recipe["asset_key"]),
        },
        files={"": library},
        metrics={
            "loss_after": after,
            "loss_before": before,
            "children": float(len(children)),
            "steps": float(steps),
            "tokens": float(steps * batch_tokens),
        },
        observations={"seconds": seconds, "tokens_per_second": steps * batch_tokens / seconds},
    )


LIBRARY_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("layer", pa.int64()),
        ("kind", pa.string()),
        ("variant", pa.string()),
        ("initialised", pa.string()),
        ("parameters", pa.int64()),
        ("loss_before", pa.float64()),
        ("loss_after", pa.float64()),
        ("file", pa.string()),
    ]
)


def corpus_tokens(corpus: pa.Table) -> int:
    """Tokens of a corpus table."""
    import pyarrow.compute as pc

    return int(pc.sum(pc.list_value_length(corpus["text_ids"])).as_py() or 0)


def make_children(
    parent: HeterogeneousLlamaForCausalLM,
    layers: Sequence[int],
    attention: Sequence[str],
    ffn: Sequence[str],
    importance: Mapping[str, pa.Table],
    batch: Sequences,
) -> list[Child]:
    """All children of some layers that need training, initialised from the parent.

    Fewer key-value heads start from mean pooling or from the most important heads, whichever is
    nearer to the parent on `batch`.
    """
    from assets.puzzle import initialise
    from assets.puzzle.distill import Child, evaluate
    from assets.puzzle.halves import ATTENTION, FFN, UNTRAINED, new_half, parent_half
    from assets.puzzle.importance import order

    children: list[Child] = []
    alternatives: list[Child] = []
    for layer in layers:
        source = parent_half(parent, layer, ATTENTION)
        for variant in attention:
            if variant in UNTRAINED:
                continue
            half = new_half(parent, layer, ATTENTION, variant)
            initialise.pool_attention(half, source)
            linear = variant == "linear"
            how = "product of projections" if linear else "mean-pooled heads"
            children.append(Child(layer, ATTENTION, variant, half, how))
            if not linear:
                other = new_half(parent, layer, ATTENTION, variant)
                ranked = order(importance["kv_head_importance"], layer, "head")
                initialise.prune_attention(other, source, ranked)
                alternatives.append(Child(layer, ATTENTION, variant, other, "most important heads"))
        source = parent_half(parent, layer, FFN)
        for variant in ffn:
            if variant in UNTRAINED:
                continue
            half = new_half(parent, layer, FFN, variant)
            ranked = order(importance["channel_importance"], layer, "channel")
            initialise.initialise_ffn(half, source, ranked)
            how = "product of projections" if variant == "linear" else "most important channels"
            children.append(Child(layer, FFN, variant, half, how))
    if not alternatives:
        return children
    names = {child.name for child in alternatives}
    pooled = evaluate(parent, [child for child in children if child.name in names], batch)
    pruned = evaluate(parent, alternatives, batch)
    better = {c.name: c for c in alternatives if pruned[c.name] < pooled[c.name]}
    return [better.get(child.name, child) for child in children]


def _build_group(
    parent: HeterogeneousLlamaForCausalLM,
    layers: list[int],
    data: Sequences,
    judged: Sequences,
    importance: Mapping[str, pa.Table],
    recipe: dict[str, Any],
    steps: int,
    library: Path,
) -> dict[str, Any]:
    """Trains and writes one group's children; the same whatever groups were made before."""
    from safetensors.torch import save_file

    from assets.puzzle.distill import evaluate, train_children
    from assets.puzzle.halves import file_name
    from resources.training.optimizer import OptimizerConfig

    size = recipe["batch_tokens"] // recipe["sequence_length"]

    def batch_of(step: int) -> Sequences:
        return data.select(np.arange(step * size, (step + 1) * size) % len(data))

    children = make_children(
        parent, layers, recipe["attention"], recipe["ffn"], importance, batch_of(0)
    )
    before = evaluate(parent, children, judged)
    history = train_children(parent, children, batch_of, steps, OptimizerConfig.from_recipe(recipe))
    after = evaluate(parent, children, judged)
    rows = []
    for child in children:
        file = file_name(child.layer, child.kind, child.variant)
        (library / file).parent.mkdir(exist_ok=True)
        weights = {k: v.contiguous().cpu() for k, v in child.module.state_dict().items()}
        save_file(weights, library / file)
        rows.append(
            {
                "model": recipe["asset_key"].split("/")[0],
                "layer": child.layer,
                "kind": child.kind,
                "variant": child.variant,
                "initialised": child.initialised,
                "parameters": sum(weight.numel() for weight in weights.values()),
                "loss_before": before[child.name],
                "loss_after": after[child.name],
                "file": file,
            }
        )
    return {
        "children": rows,
        "losses": {child.name: history[:, i].tolist() for i, child in enumerate(children)},
    }


def _metrics(reports: list[dict[str, Any]], batch_tokens: int, stage: str) -> pa.Table:
    """Rows (step, tokens, metric, value, stage): each child's loss at each step."""
    losses = {name: values for report in reports for name, values in report["losses"].items()}
    steps = [step for values in losses.values() for step in range(1, len(values) + 1)]
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "tokens": pa.array([step * batch_tokens for step in steps], pa.int64()),
            "metric": pa.array([name for name, values in losses.items() for _ in values]),
            "value": pa.array([v for values in losses.values() for v in values], pa.float64()),
            "stage": pa.array([stage] * len(steps)),
        }
    )
