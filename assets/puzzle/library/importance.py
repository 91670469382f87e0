"""Which FFN channels and key-value heads matter, for all layers in one pass over the corpus.

Channel c of a layer scores ‖W_down[:, c]‖₂ · mean|x_c| (Puzzle, arXiv 2411.19146 §2), a key-value
head the mean over tokens of ‖W_o,g a_g‖₂ over its query heads g. Knows the layers and the tokens;
knows nothing of what is pruned with the ranking.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.puzzle.calibration import ACTIVATION_BYTES
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import torch

    from assets.puzzle.calibration import Sequences
    from assets.puzzle.library.activations import Visit
    from resources.execution import Execution
    from resources.models.decoder import LayerSource


def channel_importance(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Tables `channel_importance` (layer, channel, score, rank) and `kv_head_importance`.

    Rank 0 is the most important, so that every width is a prefix of one ranking. Layers are read
    one at a time; the states between them lie in the work folder, at most the bytes of
    `activations` of the execution at once. Inputs: parent, corpus; recipe: tokens, sequence_length.
    """
    from assets.puzzle.calibration import sequences
    from resources.models.layers import LayerReader
    from resources.models.precision import Precision

    folder, device = inputs["parent"].path(), execution.device
    dtype = Precision.of(recipe, device).weights(folder)
    source = LayerReader(folder, device=device, dtype=dtype)
    data = sequences(
        inputs["corpus"].table("corpus", columns=["text_ids"]),
        "train",
        tokens=recipe["tokens"],
        sequence_length=recipe["sequence_length"],
        seed=recipe["seed"],
    )
    channels, heads = importance(
        source,
        data,
        workdir / "boundaries",
        batch=execution.micro_batch,
        room=execution.activations.bytes,
    )
    return Output(
        tables={
            "channel_importance": ranking(channels, "channel"),
            "kv_head_importance": ranking(heads, "head"),
        },
        metrics={"tokens": float(data.tokens), "layers": float(len(channels))},
    )


def importance(
    source: LayerSource,
    data: Sequences,
    folder: Path,
    batch: int = 16,
    room: int = ACTIVATION_BYTES,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Scores per layer: of FFN channels `[I]` and of key-value heads `[K]`, float64.

    A layer without a softmax attention or a SwiGLU FFN has an empty array.

    Args:
        folder: where the states between two layers go, at most `room` bytes at once.
        batch: sequences at a time.
    """
    from assets.puzzle.library.activations import Batches, sweep

    shutil.rmtree(folder, ignore_errors=True)  # a killed run's: its sums are lost
    sums = _Sums()
    starts = range(0, len(data), batch)
    batches = Batches(
        lambda turn: data.select(slice(starts[turn], starts[turn] + batch)),
        turns=len(starts),
        rows=min(batch, len(data)),
        length=data.input_ids.shape[1],
        micro=batch,
    )
    layers = source.config.num_hidden_layers
    sweep(source, layers, batches, sums, folder, room)
    channels, heads = [], []
    for layer in range(layers):
        total = sums.channels.get(layer)
        channels.append(_mean(None if total is None else total * sums.norms[layer], data.tokens))
        heads.append(_mean(sums.heads.get(layer), data.tokens))
    return channels, heads


class _Sums:
    """A visitor that sums what every layer's channels and heads contribute, token by token."""

    def __init__(self) -> None:
        self.channels: dict[int, torch.Tensor] = {}
        self.norms: dict[int, torch.Tensor] = {}  # of the columns of W_down
        self.heads: dict[int, torch.Tensor] = {}

    def visit(self, visit: Visit) -> torch.Tensor:
        """Sums over a micro-batch what enters W_down and W_o."""
        import torch

        block: Any = visit.block
        layer, handles, mlp, attention = visit.layer, [], block.mlp, block.self_attn
        if hasattr(mlp, "down_proj"):

            def channels(module: Any, args: Any) -> None:
                value = args[0].abs().flatten(0, -2).sum(0, dtype=torch.float64)
                self.channels[layer] = value + self.channels.get(layer, 0.0)
                if layer not in self.norms:
                    self.norms[layer] = module.weight.detach().double().norm(dim=0)

            handles.append(mlp.down_proj.register_forward_pre_hook(channels))
        if hasattr(attention, "o_proj"):

            def heads(module: Any, args: Any) -> None:
                value = _head_norms(args[0], module.weight, attention.kv_heads)
                self.heads[layer] = value + self.heads.get(layer, 0.0)

            handles.append(attention.o_proj.register_forward_pre_hook(heads))
        try:
            return visit.output()
        finally:
            for handle in handles:
                handle.remove()

    def leave(self, layer: int) -> None:
        """Nothing to do: the sums are small."""


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
    kind = torch.promote_types(outputs.dtype, torch.float32)
    return outputs.to(kind).norm(dim=-1).sum(0, dtype=torch.float64)


def _mean(sums: torch.Tensor | None, tokens: int) -> np.ndarray:
    return np.zeros(0) if sums is None else (sums / tokens).cpu().numpy()
