"""What children start from: their parent's weights, pruned, pooled or multiplied out.

FFN widths are prefixes of the ranked channels; fewer key-value heads come from pooling or pruning;
linear sub-blocks are products of the projections (Puzzle, arXiv 2411.19146 §2). Knows weights and
rankings only. Parents and children are halves of blocks, as `halves.py` makes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


def initialise_ffn(child: Any, parent: Any, ranked: np.ndarray) -> None:
    """Fills an FFN half from its parent's: the most important channels, or W_down·W_up if linear.

    A linear child has no bias; the parent's are left out of it.

    Args:
        ranked: the parent's channels, most important first.
    """
    source, target = parent.mlp, child.mlp
    with torch.no_grad():
        child.post_attention_layernorm.weight.copy_(parent.post_attention_layernorm.weight)
        if hasattr(target, "linear_mlp"):
            # The gate is left out: without data nothing is known of its mean.
            target.linear_mlp.weight.copy_(source.down_proj.weight @ source.up_proj.weight)
            return
        keep = np.sort(ranked[: target.down_proj.in_features])
        kept = torch.from_numpy(keep).to(source.down_proj.weight.device)
        for name in ("gate_proj", "up_proj"):
            getattr(target, name).weight.copy_(getattr(source, name).weight[kept])
            if getattr(source, name).bias is not None:
                getattr(target, name).bias.copy_(getattr(source, name).bias[kept])
        target.down_proj.weight.copy_(source.down_proj.weight[:, kept])
        if source.down_proj.bias is not None:
            target.down_proj.bias.copy_(source.down_proj.bias)


def pool_attention(child: Any, parent: Any) -> None:
    """Fills an attention half from its parent's; each key-value head is the mean of those it joins.

    A child's head serves a run of query heads; it becomes the mean, over them, of the heads that
    served them in the parent. A linear child becomes W_o·W_v; it has no bias, so that one of the
    parent's values or output is left out of it.
    """
    source, target = parent.self_attn, child.self_attn
    with torch.no_grad():
        child.input_layernorm.weight.copy_(parent.input_layernorm.weight)
        served = torch.arange(source.heads) // (source.heads // source.kv_heads)
        if hasattr(target, "linear_attn"):
            values = _heads(source.v_proj.weight, source)[served].flatten(0, 1)
            target.linear_attn.weight.copy_(source.o_proj.weight @ values)
            return
        _copy_norms(target, source)
        _copy(target.q_proj, source.q_proj)
        _copy(target.o_proj, source.o_proj)
        groups = served.view(target.kv_heads, -1)
        for name in ("k_proj", "v_proj"):
            projection, new = getattr(source, name), getattr(target, name)
            pooled = _heads(projection.weight, source)[groups].mean(1)
            new.weight.copy_(pooled.flatten(0, 1))
            if projection.bias is not None:
                new.bias.copy_(_heads(projection.bias, source)[groups].mean(1).flatten())


def prune_attention(child: Any, parent: Any, ranked: np.ndarray) -> None:
    """Fills an attention half that keeps the most important key-value heads as they are.

    Their query heads stay with them; those of dropped heads fill up the kept groups with their
    columns of W_o zeroed. Exact when the dropped heads contribute nothing.

    Args:
        ranked: the parent's key-value heads, most important first.
    """
    source, target = parent.self_attn, child.self_attn
    with torch.no_grad():
        child.input_layernorm.weight.copy_(parent.input_layernorm.weight)
        _copy_norms(target, source)
        per_parent = source.heads // source.kv_heads
        per_child = target.heads // target.kv_heads
        kept = sorted(int(head) for head in ranked[: target.kv_heads])
        spare = [query for query in range(source.heads) if query // per_parent not in set(kept)]
        queries: list[int] = []
        alive: list[bool] = []
        for head in kept:
            own = list(range(head * per_parent, (head + 1) * per_parent))
            guests = [spare.pop(0) for _ in range(per_child - per_parent)]
            queries += own + guests
            alive += [True] * len(own) + [False] * len(guests)
        device = source.q_proj.weight.device
        index = torch.tensor(queries, device=device)
        target.q_proj.weight.copy_(_heads(source.q_proj.weight, source)[index].flatten(0, 1))
        if source.q_proj.bias is not None:
            target.q_proj.bias.copy_(_heads(source.q_proj.bias, source)[index].flatten())
        columns = source.o_proj.weight.unflatten(1, (source.heads, source.head_dim))[:, index]
        mask = torch.tensor(alive, device=device)[None, :, None]
        target.o_proj.weight.copy_((columns * mask).flatten(1))
        if source.o_proj.bias is not None:
            target.o_proj.bias.copy_(source.o_proj.bias)
        heads = torch.tensor(kept, device=device)
        for name in ("k_proj", "v_proj"):
            projection, new = getattr(source, name), getattr(target, name)
            new.weight.copy_(_heads(projection.weight, source)[heads].flatten(0, 1))
            if projection.bias is not None:
                new.bias.copy_(_heads(projection.bias, source)[heads].flatten())


def _heads(tensor: torch.Tensor, attention: Any) -> torch.Tensor:
    """Rows grouped by head: `[heads, D, …]`."""
    return tensor.unflatten(0, (-1, attention.head_dim))


def _copy_norms(target: Any, source: Any) -> None:
    """Norms of queries and keys hold a number a dimension of a head, whichever head it is."""
    for name in ("q_norm", "k_norm"):
        if getattr(source, name) is not None:
            getattr(target, name).weight.copy_(getattr(source, name).weight)


def _copy(target: nn.Linear, source: nn.Linear) -> None:
    target.weight.copy_(source.weight)
    if source.bias is not None:
        target.bias.copy_(source.bias)
