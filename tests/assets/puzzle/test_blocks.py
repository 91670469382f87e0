"""Exact identities of sub-blocks, their initialisation, their training and their scores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from assets.puzzle.calibration import Sequences
from assets.puzzle.halves import (
    ATTENTION,
    FFN,
    PAIR,
    Library,
    compose,
    file_name,
    new_half,
    parent_half,
)
from assets.puzzle.intervals import intervals
from assets.puzzle.library import initialise
from assets.puzzle.library.bypass import (
    Child,
    LayerTraining,
    Lesson,
    errors,
    normalised,
)
from assets.puzzle.library.children import make_children
from assets.puzzle.library.importance import importance, order, ranking
from assets.puzzle.scoring.build import (
    divergence,
    log_probabilities,
    model_kl,
    variant_pairs,
)
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.recipe.sections.base import Optimizer
from tests.assets.puzzle import tiny
from tests.resources.training.sections import optimizer

CONSTANT = optimizer(learning_rate=1e-2)


def library(
    model: HeterogeneousDecoderForCausalLM, folder: Path, halves: dict[tuple[int, str, str], object]
) -> Library:
    """A library folder with the given halves."""
    for (layer, kind, variant), half in halves.items():
        path = folder / file_name(layer, kind, variant)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(half.state_dict(), path)
    return Library(model, folder)


def ffn_half(
    model: HeterogeneousDecoderForCausalLM, layer: int, variant: str, ranked: object
) -> object:
    half = new_half(model, layer, FFN, variant)
    initialise.initialise_ffn(half, parent_half(model, layer, FFN), np.asarray(ranked))
    return half


def lesson_of(model: HeterogeneousDecoderForCausalLM, layer: int, batch: Sequences) -> Lesson:
    """What a layer makes of a batch."""
    with torch.no_grad():
        hidden, context = batch.context(model)
        for below in model.model.layers[:layer]:
            hidden = below(hidden, context)
        return Lesson.of(model.config, model.model.layers[layer], hidden, context)


def evaluate(children: list[Child], lesson: Lesson) -> list[float]:
    """Each child's normalised MSE on one micro-batch."""
    return normalised([errors(children, lesson)]).tolist()


def train(
    children: list[Child], lesson: Lesson, steps: int, optimizer: Optimizer = CONSTANT
) -> np.ndarray:
    """The losses `[steps, children]` of training on one batch again and again."""
    training = LayerTraining(children, optimizer, steps)
    for _ in range(steps):
        training.learn(lesson)
    return training.history


def test_the_parents_own_blocks_give_the_parent() -> None:
    model, batch = tiny.parent(), tiny.data()
    same = compose(Library(model, None), [("full", "full")] * 3)
    assert torch.equal(tiny.logits(model, batch), tiny.logits(same, batch))
    assert model_kl(model, same, batch).max() == 0
    kl = tiny.replacement_kl(Library(model, None), [("full", "full"), ("noop", "full")], batch)
    assert kl.shape == (3, 2, len(batch))
    assert (kl[:, 0] == 0).all()
    assert (kl[:, 1] > 0).all()


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


def test_a_noop_equals_a_zero_output_projection() -> None:
    model, batch = tiny.parent(), tiny.data()
    for kind, variants in ((ATTENTION, ("noop", "full")), (FFN, ("full", "noop"))):
        removed = compose(Library(model, None), [("full", "full"), variants, ("full", "full")])
        zeroed = tiny.parent()
        block = zeroed.model.layers[1]
        projection = block.self_attn.o_proj if kind == ATTENTION else block.mlp.down_proj
        with torch.no_grad():
            projection.weight.zero_()
        assert torch.equal(tiny.logits(removed, batch), tiny.logits(zeroed, batch))


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


def children_of(
    model: HeterogeneousDecoderForCausalLM,
    layer: int,
    lesson: Lesson,
    attention: list[str],
    ffn: list[str],
    *,
    coupled: bool = False,
) -> list[Child]:
    heads = [np.arange(2.0)] * 3
    tables = {
        "channel_importance": ranking([np.arange(24.0)] * 3, "channel"),
        "kv_head_importance": ranking(heads, "head"),
    }
    variants = {"attention": attention, "ffn": ffn}
    source = model
    block = source.layer(layer)
    return make_children(source, layer, block, variants, tables, lesson, coupled)


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


@pytest.mark.parametrize("coupled", [False, True])
def test_children_train_as_if_alone_and_only_themselves(coupled: bool) -> None:
    histories, weights = [], []
    for attention, ffn in ((["full", "kv_1", "noop"], ["full", "ratio_50"]), (["full"],) * 2):
        model = tiny.parent()
        lesson = lesson_of(model, 1, tiny.data())
        alone = [*ffn, "ratio_50"] if ffn == ["full"] else ffn
        children = children_of(model, 1, lesson, attention, alone, coupled=coupled)
        place = [child.variant.endswith("ratio_50") for child in children].index(True)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        histories.append(train(children, lesson, 4)[:, place])
        weights.append(children[place].module.state_dict())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
    np.testing.assert_array_equal(*histories)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert histories[0][-1] < histories[0][0]


def test_micro_batches_make_the_same_step() -> None:
    """Their gradients are taken with the first one's norm, and put right when the sum is known."""
    weights, histories = [], []
    for size in (4, 1):
        model, batch = tiny.parent(), tiny.data()
        lessons = [lesson_of(model, 1, part) for part in batch.batches(size)]
        assert len(lessons) == 4 // size
        children = children_of(model, 1, lessons[0], ["full"], ["full", "ratio_50"])
        training = LayerTraining(children, CONSTANT, 3)
        for _ in range(3):
            for place, lesson in enumerate(lessons):
                training.learn(lesson, first=place == 0, last=lesson is lessons[-1])
        weights.append(children[0].module.state_dict())
        histories.append([*training.history[:, 0], *normalised([errors(children, lessons[0])])])
        parts = [errors(children, lesson) for lesson in lessons]
        assert math.isclose(normalised(parts)[0], evaluate(children, lesson_of(model, 1, batch))[0])
    np.testing.assert_allclose(histories[0][:3], histories[1][:3], rtol=1e-12)
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], rtol=1e-9, atol=1e-12)


def test_a_copy_of_the_parent_starts_at_zero() -> None:
    model = tiny.parent()
    children = []
    for kind in (ATTENTION, FFN):
        half = new_half(model, 1, kind, "full")
        half.load_state_dict(parent_half(model, 1, kind).state_dict())
        children.append(Child(1, kind, "full", half, "copied"))
    pair = new_half(model, 1, PAIR, "full/full")
    pair.load_state_dict(model.model.layers[1].state_dict())
    children.append(Child(1, PAIR, "full/full", pair, "copied"))
    lesson = lesson_of(model, 1, tiny.data())
    assert evaluate(children, lesson) == [0.0] * 3
    assert train([children[-1]], lesson, 2).tolist() == [[0.0], [0.0]]


def test_a_pair_starts_from_its_halves() -> None:
    model = tiny.parent()
    lesson = lesson_of(model, 2, tiny.data())
    pairs = children_of(
        model, 2, lesson, ["full", "kv_1", "noop"], ["full", "ratio_50", "noop"], coupled=True
    )
    assert [pair.variant for pair in pairs] == [
        "full/ratio_50",
        "kv_1/full",
        "kv_1/ratio_50",
        "kv_1/noop",
        "noop/ratio_50",
    ]
    halves = children_of(model, 2, lesson, ["full", "kv_1"], ["full", "ratio_50"])
    starts = evaluate(halves, lesson)
    assert evaluate(pairs[1:2], lesson) == starts[:1]
    assert evaluate(pairs[:1], lesson) == starts[1:]
    # a parent's half in a pair is a copy, which trains with it
    assert not set(map(id, pairs[0].module.parameters())) & set(map(id, model.parameters()))
    assert pairs[2].initialised == ", ".join(half.initialised for half in halves)
    history = train(pairs, lesson, 20)
    assert (history[-1] < history[0]).all()


@pytest.mark.parametrize("kind", [ATTENTION, FFN])
def test_a_linear_child_of_a_linear_parent_reaches_zero(kind: str) -> None:
    linear = {"attention": {"kind": "linear"}, "ffn": {"kind": "linear"}}
    model = tiny.parent(1, blocks=[linear])
    half = new_half(model, 0, kind, "linear")
    half.load_state_dict(parent_half(model, 0, kind).state_dict())
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in half.named_parameters():
            if "linear" in name:
                weight += 0.05 * torch.randn(16, 16)
    child = Child(0, kind, "linear", half, "disturbed")
    cosine = optimizer(1e-2, schedule="cosine", min_learning_rate=1e-6)
    history = train([child], lesson_of(model, 0, tiny.data(tokens=512)), 300, cosine)
    assert history[0, 0] > 1e-3
    assert history[-1, 0] < 1e-8


def test_a_loss_that_is_not_finite_names_the_child() -> None:
    model = tiny.parent()
    lesson = lesson_of(model, 1, tiny.data())
    children = children_of(model, 1, lesson, ["full", "kv_1"], ["full", "ratio_50"])
    with torch.no_grad():
        children[1].module.mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match=r"layer_1/ffn_ratio_50: loss is (nan|inf)"):
        train(children, lesson, 1)


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


def test_kl() -> None:
    uniform = torch.log_softmax(torch.zeros(1, 1, 50, dtype=torch.float64), -1)
    certain = torch.full((1, 1, 50), -math.inf, dtype=torch.float64)
    certain[..., 7] = 0
    assert divergence(uniform, uniform) == 0
    one_hot = torch.log_softmax(torch.where(certain == 0, 500.0, 0.0).double(), -1)
    assert math.isclose(float(divergence(one_hot, uniform)), math.log(50))
    logits = torch.randn(2, 3, 50, dtype=torch.float64)
    shifted = torch.log_softmax(logits + 4, -1)
    assert divergence(torch.log_softmax(logits, -1), shifted).abs().max() < 1e-12


def test_scores_equal_whole_models(tmp_path: Path) -> None:
    """Cached prefixes and stacked children give what composing and running each model gives."""
    model, batch = tiny.parent(), tiny.data()
    halves = {}
    for layer in range(3):
        attention = new_half(model, layer, ATTENTION, "kv_1")
        initialise.pool_attention(attention, parent_half(model, layer, ATTENTION))
        halves[(layer, ATTENTION, "kv_1")] = attention
        halves[(layer, FFN, "ratio_50")] = ffn_half(model, layer, "ratio_50", np.arange(24))
    made = library(model, tmp_path, halves)
    pairs = variant_pairs(["full", "kv_1", "noop"], ["full", "ratio_50", "noop"])
    values = tiny.replacement_kl(made, pairs, batch)
    for layer in range(3):
        for place, pair in enumerate(pairs):
            architecture = [("full", "full")] * 3
            architecture[layer] = pair
            whole = model_kl(model, compose(made, architecture), batch)
            np.testing.assert_allclose(values[layer, place], whole, rtol=1e-9, atol=1e-14)


def test_a_missing_child_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"kv_1.*layer 0"):
        Library(tiny.parent()).half(0, ATTENTION, "kv_1")


def test_intervals_hold_the_mean() -> None:
    values = np.random.default_rng(0).normal(3, 1, (2, 5, 400))
    low, high = intervals(values, seed=1)
    means = values.mean(-1)
    assert ((low < means) & (means < high)).all()
    # half a 95 % interval of 400 normal draws is 1.96 / 20
    np.testing.assert_allclose((high - low) / 2, 0.098, atol=0.02)


def test_log_probabilities_are_of_the_models_logits() -> None:
    model, batch = tiny.parent(), tiny.data()
    with torch.no_grad():
        hidden, context = batch.context(model)
        for layer in model.model.layers:
            hidden = layer(hidden, context)
        expected = torch.log_softmax(tiny.logits(model, batch), -1)
        assert torch.equal(log_probabilities(model, hidden), expected)
