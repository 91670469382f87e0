"""Exact identities of children before training: slices, pooled and pruned heads, biases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from assets.puzzle.halves import ATTENTION, FFN, compose, new_half, parent_half
from assets.puzzle.library import initialise
from tests.assets.puzzle import tiny
from tests.assets.puzzle.halves import ffn_half, library


def test_slicing_channels_equals_zeroing_them(tmp_path: Path) -> None:
    model, batch = tiny.parent(), tiny.data()
    ranked = np.random.default_rng(0).permutation(24)
    half = ffn_half(model, 1, "ratio_50", ranked)
    sliced = compose(
        library(model, tmp_path, {(1, FFN, "ratio_50"): half}),
        [("full", "full"), ("full", "ratio_50"), ("full", "full")],
    )
    zeroed = tiny.parent()
    with torch.no_grad():
        zeroed.model.layers[1].mlp.down_proj.weight[:, ranked[12:]] = 0
    difference = tiny.logits(sliced, batch) - tiny.logits(zeroed, batch)
    assert difference.abs().max() < 1e-12
    assert sliced.config.block_configs[1]["ffn"]["intermediate_size"] == 12


def test_pooling_identical_heads_is_exact() -> None:
    model, batch = tiny.parent(), tiny.data()
    with torch.no_grad():
        for name in ("k_proj", "v_proj"):
            weight = getattr(model.model.layers[0].self_attn, name).weight
            weight[4:] = weight[:4]
    half = new_half(model, 0, ATTENTION, "kv_1")
    parent = parent_half(model, 0, ATTENTION)
    initialise.pool_attention(half, parent)
    with torch.no_grad():
        hidden, context = batch.context(model)
        assert (half(hidden, context) - parent(hidden, context)).abs().max() < 1e-12


def test_pooling_when_heads_do_not_nest() -> None:
    """12 query heads over 6 key-value heads become 4: a child's head takes 1.5 of the parent's."""
    model = tiny.parent(1, hidden_size=48, num_attention_heads=12, num_key_value_heads=6)
    half = new_half(model, 0, ATTENTION, "kv_4")
    initialise.pool_attention(half, parent_half(model, 0, ATTENTION))
    old = model.model.layers[0].self_attn.v_proj.weight.unflatten(0, (6, 4))
    new = half.self_attn.v_proj.weight.unflatten(0, (4, 4))
    assert torch.allclose(new[0], (2 * old[0] + old[1]) / 3)
    assert torch.allclose(new[1], (old[1] + 2 * old[2]) / 3)


def test_a_linear_child_is_the_product_of_the_projections() -> None:
    """With one token a document attention copies its value: the linear child is exact there."""
    model = tiny.parent(1)
    half = new_half(model, 0, ATTENTION, "linear")
    parent = parent_half(model, 0, ATTENTION)
    initialise.pool_attention(half, parent)
    ids = torch.arange(8)[:, None]
    with torch.no_grad():
        hidden, context = model.get_input_embeddings()(ids), model.context(ids)
        assert (half(hidden, context) - parent(hidden, context)).abs().max() < 1e-12


def test_children_keep_what_is_not_a_matter_of_size(tmp_path: Path) -> None:
    """A window, a missing rotary embedding and the norms of queries and keys stay the parent's."""
    own: list[dict[str, dict[str, object]]] = [
        {"attention": {"window": 5}},
        {"attention": {"rope": False}},
        {"attention": {"window": 5}},
    ]
    model = tiny.parent(blocks=own, qk_norm=True, family="qwen3")
    batch = tiny.data()
    halves = {}
    for layer in range(3):
        half = new_half(model, layer, ATTENTION, "kv_1")
        initialise.pool_attention(half, parent_half(model, layer, ATTENTION))
        assert torch.equal(
            half.self_attn.q_norm.weight, model.layers[layer].self_attn.q_norm.weight
        )
        halves[layer, ATTENTION, "kv_1"] = half
    child = compose(library(model, tmp_path, halves), [("kv_1", "full")] * 3)
    for layer, entry in enumerate(own):
        made = (child.config.block_configs or [])[layer]["attention"]
        assert made == {"kind": "full", "num_key_value_heads": 1, **entry["attention"]}
        assert child.layers[layer].self_attn.window == entry["attention"].get("window")
    # Two heads with equal weights are one: then the child computes what its parent does.
    with torch.no_grad():
        for layer in model.layers:
            for name in ("k_proj", "v_proj"):
                weight = getattr(layer.self_attn, name).weight
                weight.copy_(weight[:4].repeat(2, 1))
        for layer in range(3):
            half = halves[layer, ATTENTION, "kv_1"]
            initialise.pool_attention(half, parent_half(model, layer, ATTENTION))
    same = compose(library(model, tmp_path / "same", halves), [("kv_1", "full")] * 3)
    assert (tiny.logits(same, batch) - tiny.logits(model, batch)).abs().max() < 1e-12


def test_biases_of_queries_keys_and_values_are_pooled_and_pruned() -> None:
    """As Qwen2 has them: none on the output. Exact where the heads are alike, or contribute 0."""
    model, batch = tiny.parent(qkv_bias=True), tiny.data()
    attention = model.model.layers[0].self_attn
    assert attention.o_proj.bias is None
    with torch.no_grad():
        for name in ("k_proj", "v_proj"):
            for value in (getattr(attention, name).weight, getattr(attention, name).bias):
                value[4:] = value[:4]
    parent = parent_half(model, 0, ATTENTION)
    hidden, context = batch.context(model)
    pooled, pruned = (new_half(model, 0, ATTENTION, "kv_1") for _ in range(2))
    with torch.no_grad():
        initialise.pool_attention(pooled, parent)
        assert (pooled(hidden, context) - parent(hidden, context)).abs().max() < 1e-12
        attention.o_proj.weight[:, :8] = 0
        attention.v_proj.bias[:4] += 1
        initialise.prune_attention(pruned, parent, np.array([1, 0]))
        assert (pruned(hidden, context) - parent(hidden, context)).abs().max() < 1e-12
