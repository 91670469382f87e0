"""Replace-1-block scores: what one changed layer does to the parent's predictions.

The parent stays resident and its state before every layer is kept for a batch, so that a score
costs only the layers from the changed one up, and the children of a layer go up together. Attention
and FFN variants are scored jointly, each pair by its own forward pass (Puzzle, arXiv 2411.19146
§3). Knows models and sub-blocks; knows nothing of costs or the search.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import torch

    from assets.puzzle.calibration import Sequences
    from assets.puzzle.halves import Library
    from resources.models.modeling import HeterogeneousLlamaForCausalLM

RESAMPLES = 1000
COVERAGE = 0.95


def score_blocks(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """Table `block_scores`: KL to the parent (nats a token) of every layer and variant pair.

    Inputs: parent, corpus, block_library. Recipe: attention and ffn (variant names), tokens,
    sequence_length, metric. The interval is a bootstrap over `samples` sequences. Batches that
    were scored before a kill are read back from the work folder.
    """
    from assets.puzzle.calibration import sequences
    from assets.puzzle.halves import Library
    from assets.puzzle.pictures import score_heatmap
    from resources.models.loading import load

    began = time.monotonic()
    parent = load(inputs["parent"].path(), device=execution.get("device", "cpu"))
    library = Library(parent, inputs["block_library"].path())
    data = sequences(
        inputs["corpus"].table("corpus", columns=["text_ids"]),
        "score",
        tokens=recipe["tokens"],
        sequence_length=recipe["sequence_length"],
        seed=recipe["seed"],
    )
    pairs = variant_pairs(recipe["attention"], recipe["ffn"])
    # Children of a layer go up together: that many sequences are at work at once.
    size = max(execution.get("micro_batch", 32) // max(len(pairs) - 1, 1), 1)
    parts = []
    for number, batch in enumerate(data.batches(size)):
        file = workdir / f"scores_{size}_{number:05d}.npy"
        if not file.is_file():
            partial = file.with_suffix(".partial.npy")
            np.save(partial, replacement_kl(library, pairs, batch))
            os.replace(partial, file)
        parts.append(np.load(file, allow_pickle=False))
        if execution.get("progress"):
            done = min((number + 1) * size, len(data))
            execution["progress"](f"{done} of {len(data)} sequences", done / len(data))
    values = np.concatenate(parts, axis=2)
    model = recipe["asset_key"].split("/")[0]
    means = values.mean(axis=2)
    replaced = means[:, [pair != ("full", "full") for pair in pairs]]
    seconds = time.monotonic() - began
    return Output(
        tables={
            "block_scores": score_table(model, recipe["metric"], pairs, values, recipe["seed"])
        },
        metrics={
            "median_kl": float(np.median(replaced)) if replaced.size else 0.0,
            "scores": float(means.size),
            "tokens": float(data.tokens),
        },
        observations={
            "seconds": seconds,
            "children_tokens_per_second": replaced.size * data.tokens / seconds,
        },
        images={
            "block_scores": score_heatmap(
                f"{model}: KL to the parent with one block replaced (nats a token)",
                [f"{attention} / {ffn}" for attention, ffn in pairs],
                means.T,
            )
        },
    )


def variant_pairs(attention: Sequence[str], ffn: Sequence[str]) -> list[tuple[str, str]]:
    """Every (attention, ffn) combination, in the order given."""
    return [(a, f) for a in attention for f in ffn]


def replacement_kl(
    library: Library,
    pairs: Sequence[tuple[str, str]],
    batch: Sequences,
    layers: Sequence[int] | None = None,
) -> np.ndarray:
    """Mean KL(parent ‖ parent with one block replaced) per sequence, `[layers, pairs, N]`, nats.

    The pair (full, full) is the parent itself: 0 without being run. Layers: all by default.
    """
    import torch

    from assets.puzzle.halves import ATTENTION, FFN

    parent = library.parent
    wanted = range(parent.config.num_hidden_layers) if layers is None else layers
    values = np.zeros((len(wanted), len(pairs), len(batch)))
    replaced = [place for place, pair in enumerate(pairs) if pair != ("full", "full")]
    if not replaced:
        return values
    with torch.inference_mode():
        hidden, context = batch.context(parent)
        states = [hidden]
        for layer in parent.model.layers:
            states.append(layer(states[-1], context))
        reference = log_probabilities(parent, states[-1])
        copies = batch.select(np.tile(np.arange(len(batch)), len(replaced)))
        _, copied = copies.context(parent)
        for row, layer in enumerate(wanted):
            attended = {
                variant: library.half(layer, ATTENTION, variant)(states[layer], context)
                for variant in dict.fromkeys(pairs[place][0] for place in replaced)
            }
            ffns = {
                variant: library.half(layer, FFN, variant)
                for variant in dict.fromkeys(pairs[place][1] for place in replaced)
            }
            outputs = [
                ffns[ffn](attended[attention], context)
                for attention, ffn in (pairs[place] for place in replaced)
            ]
            state = torch.cat(outputs)
            for above in parent.model.layers[layer + 1 :]:
                state = above(state, copied)
            for place, part in zip(replaced, state.split(len(batch)), strict=True):
                kl = divergence(reference, log_probabilities(parent, part))
                values[row, place] = kl.mean(dim=-1).cpu().numpy()
    return values


def log_probabilities(model: HeterogeneousLlamaForCausalLM, state: torch.Tensor) -> torch.Tensor:
    """Log-probabilities `[B, T, V]` (float32 or better) from the last layer's state."""
    import torch

    logits = model.lm_head(model.model.norm(state))
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)


def divergence(reference: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """KL(reference ‖ other) per token `[B, T]` in nats, from log-probabilities `[B, T, V]`."""
    return (reference.exp() * (reference - other)).sum(dim=-1)


def model_kl(
    parent: HeterogeneousLlamaForCausalLM,
    model: HeterogeneousLlamaForCausalLM,
    data: Sequences,
    batch: int = 8,
) -> np.ndarray:
    """Mean KL(parent ‖ model) of each sequence, `[N]`, nats a token."""
    import torch

    parts = []
    with torch.inference_mode():
        for part in data.batches(batch):
            logs = []
            for each in (parent, model):
                hidden, context = part.context(each)
                for layer in each.model.layers:
                    hidden = layer(hidden, context)
                logs.append(log_probabilities(each, hidden))
            parts.append(divergence(*logs).mean(dim=-1).cpu().numpy())
    return np.concatenate(parts)


def intervals(values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap of the mean over the last axis: (low, high) at 95 % coverage."""
    count = values.shape[-1]
    draws = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    weights = np.stack([np.bincount(draw, minlength=count) for draw in draws]) / count
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(values @ weights.T, [tail, 1 - tail], axis=-1)
    return low, high


def score_table(
    model: str,
    metric: str,
    pairs: Sequence[tuple[str, str]],
    values: np.ndarray,
    seed: int,
) -> pa.Table:
    """The `block_scores` rows of scores `[layers, pairs, sequences]`."""
    layers, count, samples = values.shape
    low, high = intervals(values, seed)
    return pa.table(
        {
            "model": [model] * (layers * count),
            "layer": np.repeat(np.arange(layers), count),
            "attention": [attention for attention, _ in pairs] * layers,
            "ffn": [ffn for _, ffn in pairs] * layers,
            "metric": [metric] * (layers * count),
            "value": values.mean(axis=2).ravel(),
            "ci_low": low.ravel(),
            "ci_high": high.ravel(),
            "samples": np.full(layers * count, samples),
        }
    )
