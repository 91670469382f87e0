"""Importance of channels and heads: by hand, under permutations, whatever the room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from assets.puzzle.halves import ATTENTION, FFN, compose, new_half, parent_half
from assets.puzzle.library import initialise
from assets.puzzle.library.importance import channel_importance, importance, order, ranking
from resources.execution import Execution
from resources.recipe.sections.execution import Activations
from tests.assets.puzzle import tiny
from tests.assets.puzzle.halves import ffn_half, library
from warehouse.artifact import Artifact


def test_channels_without_a_down_column_rank_last_and_go_for_free(tmp_path: Path) -> None:
    model, batch = tiny.parent(), tiny.data()
    dead = np.random.default_rng(1).permutation(24)[:12]
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[:, dead] = 0
    channels, _ = importance(model, batch, tmp_path / "states")
    ranked = order(ranking(channels, "channel"), 0, "channel")
    assert set(ranked[12:]) == set(dead)
    half = ffn_half(model, 0, "ratio_50", ranked)
    pruned = compose(
        library(model, tmp_path, {(0, FFN, "ratio_50"): half}),
        [("full", "ratio_50"), ("full", "full"), ("full", "full")],
    )
    difference = tiny.logits(pruned, batch) - tiny.logits(model, batch)
    assert difference.abs().max() < 1e-12


def test_channel_importance_follows_a_permutation_of_channels(tmp_path: Path) -> None:
    model, batch = tiny.parent(), tiny.data()
    before, _ = importance(model, batch, tmp_path)
    places = np.random.default_rng(2).permutation(24)
    shuffled = tiny.parent()
    with torch.no_grad():
        mlp = shuffled.model.layers[2].mlp
        mlp.gate_proj.weight.copy_(mlp.gate_proj.weight[places])
        mlp.up_proj.weight.copy_(mlp.up_proj.weight[places])
        mlp.down_proj.weight.copy_(mlp.down_proj.weight[:, places])
    difference = tiny.logits(shuffled, batch) - tiny.logits(model, batch)
    assert difference.abs().max() < 1e-12
    after, _ = importance(shuffled, batch, tmp_path)
    np.testing.assert_allclose(after[2], before[2][places], rtol=1e-12)


def test_channel_importance_by_hand(tmp_path: Path) -> None:
    model, batch = tiny.parent(layers=1), tiny.data(tokens=32)
    block = model.model.layers[0]
    with torch.no_grad():
        hidden, context = batch.context(model)
        hidden = hidden + block.self_attn(block.input_layernorm(hidden), context)
        normed = block.post_attention_layernorm(hidden)
        inner = block.mlp.act_fn(block.mlp.gate_proj(normed)) * block.mlp.up_proj(normed)
        expected = inner.abs().mean((0, 1)) * block.mlp.down_proj.weight.norm(dim=0)
    channels, heads = importance(model, batch, tmp_path, batch=1)
    np.testing.assert_allclose(channels[0], expected.numpy(), rtol=1e-12)
    assert heads[0].shape == (2,)


@pytest.mark.parametrize("dead", [0, 1])
def test_pruning_heads_that_contribute_nothing_is_exact(dead: int, tmp_path: Path) -> None:
    model, batch = tiny.parent(), tiny.data()
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight[:, 8 * dead : 8 * dead + 8] = 0
    _, heads = importance(model, batch, tmp_path)
    ranked = order(ranking(heads, "head"), 0, "head")
    assert list(ranked) == [1 - dead, dead]
    half = new_half(model, 0, ATTENTION, "kv_1")
    parent = parent_half(model, 0, ATTENTION)
    initialise.prune_attention(half, parent, ranked)
    with torch.no_grad():
        hidden, context = batch.context(model)
        assert (half(hidden, context) - parent(hidden, context)).abs().max() < 1e-12


def test_importance_does_not_depend_on_the_room(
    tmp_path: Path, inputs: dict[str, Artifact]
) -> None:
    recipe = {"tokens": 256, "sequence_length": 32, "seed": 3}
    one = 2 * 4 * 32 * 16 * 4  # two boundaries of four sequences
    for room in (one, 10**6):
        activations = Activations(source="sweep", bytes=room)
        execution = Execution(micro_batch=4, activations=activations)
        made = channel_importance(tmp_path, inputs, recipe, execution)
        for name, table in made.tables.items():
            assert table.equals(inputs["channel_importance"].table(name))
    with pytest.raises(ValueError, match=f"take {one}"):
        channel_importance(
            tmp_path,
            inputs,
            recipe,
            Execution(micro_batch=4, activations=Activations(bytes=one - 1)),
        )
