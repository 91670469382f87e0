"""Which FFN channels and key-value heads matter, for all layers in one pass over the corpus.

Channel c of a layer scores ‖W_down[:, c]‖₂ · mean|x_c| (Puzzle, arXiv 2411.19146 §2), a key-value
head the mean over tokens of ‖W_o,g a_g‖₂ over its query heads g. Knows the model and the tokens;
knows nothing of what is pruned with the ranking.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import torch

    from assets.puzzle.calibration import Sequences
    from resources.models.modeling import HeterogeneousLlamaForCausalLM


def channel_importance(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """Tables `channel_importance` (layer, channel, score, rank) and `kv_head_importance`.

    Rank 0 is the most important. Inputs: parent, corpus; recipe: tokens, sequence_length.
    """
    from assets.puzzle.calibration import sequences
    from resources.models.loading import load

    model = load(inputs["parent"].path(), device=execution.get("device", "cpu"))
    data = sequences(
        inputs["corpus"].table("corpus", columns=["text_ids"]),
        "train",
        tokens=recipe["tokens"],
        sequence_length=recipe["sequence_length"],
        seed=recipe["seed"],
    )
    channels, heads = importance(model, data, batch=execution.get("micro_batch", 16))
    return Output(
        tables={
            "channel_importance": ranking(channels, "channel"),
            "kv_head_importance": ranking(heads, "head"),
        },
        metrics={"tokens": float(data.tokens), "layers": float(len(channels))},
    )


def importance(
    model: HeterogeneousLlamaForCausalLM, data: Sequences, batch: int = 16
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Scores per layer: of FFN channels `[I]` and of key-value heads `[K]`, float64.

    A layer without a softmax attention or a SwiGLU FFN has an empty array.
    """
    import torch

    layers = model.model.layers
    channel_sums: list[torch.Tensor | float] = [0.0] * len(layers)
    head_sums: list[torch.Tensor | float] = [0.0] * len(layers)
    handles = []
    for index, layer in enumerate(layers):
        if hasattr(layer.mlp, "down_proj"):

            def channels(_: Any, args: Any, index: int = index) -> None:
                channel_sums[index] += args[0].abs().flatten(0, -2).sum(0, dtype=torch.float64)

            handles.append(layer.mlp.down_proj.register_forward_pre_hook(channels))
        if hasattr(layer.self_attn, "o_proj"):

            def heads(module: Any, args: Any, index: int = index) -> None:
                groups = layers[index].self_attn.kv_heads
                head_sums[index] += _head_norms(args[0], module.weight, groups)

            handles.append(layer.self_attn.o_proj.register_forward_pre_hook(heads))
    try:
        with torch.inference_mode():
            for part in data.batches(batch):
                hidden, context = part.context(model)
                for layer in layers:
                    hidden = layer(hidden, context)
    finally:
        for handle in handles:
            handle.remove()
    channel_scores, head_scores = [], []
    for index, layer in enumerate(layers):
        sums = channel_sums[index]
        if not isinstance(sums, float):
            sums = sums * layer.mlp.down_proj.weight.detach().double().norm(dim=0)
        channel_scores.append(_mean(sums, data.tokens))
        head_scores.append(_mean(head_sums[index], data.tokens))
    return channel_scores, head_scores


def ranking(scores: list[np.ndarray], name: str) -> pa.Table:
    """Columns layer, `name`, score, rank: ranks from 0 (highest score), ties by index."""
    parts: dict[str, list[np.ndarray]] = {"layer": [], name: [], "score": [], "rank": []}
    for layer, values in enumerate(scores):
        rank = np.empty(len(values), dtype=np.int64)
        rank[np.argsort(-values, kind="stable")] = np.arange(len(values))
        parts["layer"].append(np.full(len(values), layer))
        parts[name].append(np.arange(len(values)))
        parts["score"].append(values)
        parts["rank"].append(rank)
    return pa.table({column: np.concatenate(arrays) for column, arrays in parts.items()})


def order(table: pa.Table, layer: int, name: str) -> np.ndarray:
    """A layer's channels or heads, most important first, from a table that `ranking` made.

    Raises:
        ValueError: the table has nothing on the layer.
    """
    rows = np.asarray(table["layer"]) == layer
    if not rows.any():
        raise ValueError(f"importance of layer {layer}: no {name} is ranked")
    return np.asarray(table[name])[rows][np.argsort(np.asarray(table["rank"])[rows])]


def _head_norms(hidden: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Σ over tokens of ‖W_o,g a_g‖ per group; hidden `[B, T, heads·D]`, weight `[H, heads·D]`."""
    import torch

    parts = hidden.flatten(0, -2).unflatten(-1, (groups, -1))
    matrices = weight.unflatten(1, (groups, -1))
    outputs = torch.einsum("ngd,hgd->ngh", parts, matrices)
    return outputs.norm(dim=-1).sum(0, dtype=torch.float64)


def _mean(sums: Any, tokens: int) -> np.ndarray:
    return np.zeros(0) if isinstance(sums, float) else (sums / tokens).cpu().numpy()
