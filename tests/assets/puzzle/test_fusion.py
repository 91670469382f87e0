"""FFN Fusion: the fused layer equals the parallel form, and what the pre-tests measure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from assets.puzzle.fusion import dependency, fuse, new_indices, reversed_order
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.assets.puzzle import tiny

FULL = {"attention": {"kind": "full"}, "ffn": {"kind": "full"}}


def ffn(width: int | None) -> dict[str, Any]:
    """A block without attention."""
    kind = "noop" if width is None else "full"
    return {"attention": {"kind": "noop"}, "ffn": {"kind": kind, "intermediate_size": width}}


def model(*widths: int | None, **changes: Any) -> HeterogeneousDecoderForCausalLM:
    """One full layer, then attention-free ones of the given widths, then a full one."""
    blocks = [FULL, *(ffn(width) for width in widths), FULL]
    return tiny.parent(len(blocks), blocks=blocks, **changes)


def parallel(
    given: HeterogeneousDecoderForCausalLM, run: list[int], hidden: torch.Tensor
) -> torch.Tensor:
    """The parallel form: x plus each layer's contribution to x."""
    layers = [given.model.layers[layer] for layer in run]
    return hidden + sum(layer(hidden, None) - hidden for layer in layers)


@pytest.mark.parametrize("bias", [False, True])
def test_fused_equals_parallel(bias: bool) -> None:
    given = model(12, 20, 6, mlp_bias=bias)
    fused = fuse(given, [[1, 2, 3]])
    layer = fused.model.layers[1]
    assert len(fused.model.layers) == 3
    for name in ("gate_proj", "up_proj"):
        assert getattr(layer.mlp, name).weight.shape == (38, 16)
        assert not bias or getattr(layer.mlp, name).bias.shape == (38,)
    assert layer.mlp.down_proj.weight.shape == (16, 38)
    assert fused.config.block_configs[1]["ffn"]["intermediate_size"] == 38
    hidden = torch.randn(2, 5, 16, dtype=torch.float64)
    expected = parallel(given, [1, 2, 3], hidden)
    assert (layer(hidden, None) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("bias", [False, True])
def test_the_last_norm_for_all_is_the_form_of_the_paper(bias: bool) -> None:
    given = model(12, 20, 6, mlp_bias=bias)
    layers = given.model.layers
    fused = fuse(given, [[1, 2, 3]], norms="last")
    hidden = torch.randn(2, 5, 16, dtype=torch.float64)
    normed = layers[3].post_attention_layernorm(hidden)
    expected = hidden + sum(layers[index].mlp(normed) for index in (1, 2, 3))
    assert (fused.model.layers[1](hidden, None) - expected).abs().max() < 1e-12
    assert (expected - parallel(given, [1, 2, 3], hidden)).abs().max() > 1e-3
    # with equal norms both forms are one
    with torch.no_grad():
        for index in (1, 2):
            layers[index].post_attention_layernorm.weight.copy_(
                layers[3].post_attention_layernorm.weight
            )
    one, other = (fuse(given, [[1, 2, 3]], norms=norms) for norms in ("own", "last"))
    difference = one.model.layers[1](hidden, None) - other.model.layers[1](hidden, None)
    assert difference.abs().max() < 1e-12


def test_the_fused_norm_has_the_epsilon_of_the_others() -> None:
    given = model(12, 20, rms_norm_eps=1e-3)
    fused = fuse(given, [[1, 2]])
    assert fused.model.layers[1].post_attention_layernorm.variance_epsilon == 1e-3
    # small states, where the epsilon shows
    hidden = torch.randn(2, 5, 16, dtype=torch.float64) * 1e-2
    difference = fused.model.layers[1](hidden, None) - parallel(given, [1, 2], hidden)
    assert difference.abs().max() < 1e-12


def test_other_layers_and_the_given_model_stay() -> None:
    given = model(12, 20)
    before = {name: value.clone() for name, value in given.state_dict().items()}
    fused = fuse(given, [[1, 2]])
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    for old, new in ((0, 0), (3, 2)):
        theirs = fused.model.layers[new].state_dict()
        for name, value in given.model.layers[old].state_dict().items():
            assert torch.equal(value, theirs[name])
    assert torch.equal(fused.lm_head.weight, given.lm_head.weight)
    with torch.no_grad():
        fused.lm_head.weight.zero_()  # shares no memory
    assert torch.equal(given.lm_head.weight, before["lm_head.weight"])


def test_a_run_of_one_is_the_identity() -> None:
    given, batch = model(12, 20), tiny.data()
    for runs in ([], [[1]], [[1], [2]]):
        assert torch.equal(tiny.logits(fuse(given, runs), batch), tiny.logits(given, batch))


def test_exact_when_later_layers_add_nothing() -> None:
    given, batch = model(12, 20, 6), tiny.data()
    with torch.no_grad():
        for layer in (2, 3):
            given.model.layers[layer].mlp.down_proj.weight.zero_()
    difference = tiny.logits(fuse(given, [[1, 2, 3]]), batch) - tiny.logits(given, batch)
    assert difference.abs().max() < 1e-12


def test_layers_without_ffn_add_nothing() -> None:
    given, batch = model(12, None, 20, None, None), tiny.data()
    fused = fuse(given, [[1, 2], [4, 5]])
    assert [block["ffn"]["intermediate_size"] for block in fused.config.block_configs] == [
        24,
        12,
        20,
        None,
        24,
    ]
    difference = tiny.logits(fused, batch) - tiny.logits(given, batch)
    assert difference.abs().max() < 1e-12


def test_the_order_within_a_run_does_not_matter() -> None:
    given, swapped = model(12, 12, 12), model(12, 12, 12)
    layers = swapped.model.layers
    layers[1], layers[3] = layers[3], layers[1]
    batch = tiny.data()
    one, other = (tiny.logits(fuse(each, [[1, 2, 3]]), batch) for each in (given, swapped))
    assert (one - other).abs().max() < 1e-11


def test_parallel_approaches_sequential_with_smaller_updates() -> None:
    batch, errors = tiny.data(), []
    for scale in (0.1, 0.01, 0.001):
        given = model(12, 20, 6)
        with torch.no_grad():
            for layer in (1, 2, 3):
                given.model.layers[layer].mlp.down_proj.weight.mul_(scale)
        hidden, _ = batch.context(given)
        sequential = hidden
        for layer in (1, 2, 3):
            sequential = given.model.layers[layer](sequential, None)
        together = parallel(given, [1, 2, 3], hidden)
        errors.append(float((together - sequential).norm() / (sequential - hidden).norm()))
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 0.2 * errors[1]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([[0, 1]], "full attention"),
        ([[1, 3]], "consecutive"),
        ([[2, 1]], "consecutive"),
        ([[]], "consecutive"),
        ([[1, 2], [2, 3]], "two runs"),
        ([[8, 9]], "layers 0 to 4"),
    ],
)
def test_wrong_runs_are_refused(runs: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse(model(12, 20, 6), runs)


def test_a_linear_ffn_is_refused() -> None:
    linear = {"attention": {"kind": "noop"}, "ffn": {"kind": "linear"}}
    given = tiny.parent(3, blocks=[FULL, linear, linear])
    with pytest.raises(ValueError, match="linear FFN"):
        fuse(given, [[1, 2]])


def test_new_indices() -> None:
    assert new_indices(7, [[1, 2, 3], [5, 6]]) == [0, 1, 1, 1, 2, 3, 3]
    assert new_indices(3, []) == [0, 1, 2]


def test_dependency_by_removal() -> None:
    given, batch = model(12, 20, 6), tiny.data()
    with torch.no_grad():
        given.model.layers[2].mlp.down_proj.weight.zero_()
    matrix = dependency(given, batch, batch=2)
    assert matrix.shape == (5, 5)
    assert np.tril(matrix).max() == 0
    # a layer that adds nothing is not needed by others, and needs none itself
    assert matrix[2].max() < 1e-12
    assert matrix[:, 2].max() == 0
    assert matrix[1, 3] > 1e-3


def test_reversed_order_runs_the_layers_backwards() -> None:
    given, batch = model(12, 20, 6), tiny.data()
    turned = reversed_order(given, [1, 2, 3])
    widths = [block["ffn"]["intermediate_size"] for block in turned.config.block_configs]
    assert widths == [24, 6, 20, 12, 24]
    hidden, context = batch.context(given)
    for index in (0, 3, 2, 1, 4):
        hidden = given.model.layers[index](hidden, context)
    expected = given.lm_head(given.model.norm(hidden))
    assert torch.equal(tiny.logits(turned, batch), expected)
    assert not torch.equal(tiny.logits(given, batch), expected)
    twice = reversed_order(turned, [1, 2, 3])
    assert torch.equal(tiny.logits(twice, batch), tiny.logits(given, batch))
    with pytest.raises(ValueError, match="full attention"):
        reversed_order(given, [0, 1])


def test_dependency_by_hand() -> None:
    """Two layers on the state (1, 1), whose rms is 1: layer 0 adds (6, 0).

    Layer 1 adds the squares of its normed input: (7, 1) / 5 gives (1.96, 0.04), and (1, 1) without
    layer 0 gives (1, 1), so the cosine is 2 / (sqrt 2 * sqrt(1.96^2 + 0.04^2)).
    """
    given = tiny.parent(
        2,
        blocks=[ffn(1), ffn(2)],
        hidden_size=2,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=2,
        hidden_act="relu",
        rms_norm_eps=0.0,
    )
    first, second = (layer.mlp for layer in given.model.layers)
    one = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    with torch.no_grad():
        given.model.embed_tokens.weight.fill_(1.0)
        for layer in given.model.layers:
            layer.post_attention_layernorm.weight.fill_(1.0)
        first.gate_proj.weight.copy_(one)
        first.up_proj.weight.copy_(one)
        first.down_proj.weight.copy_(6 * one.T)
        for projection in (second.gate_proj, second.up_proj, second.down_proj):
            projection.weight.copy_(torch.eye(2))
    matrix = dependency(given, tiny.data())
    expected = 1 - 2 / (math.sqrt(2) * math.hypot(1.96, 0.04))
    assert matrix == pytest.approx(np.array([[0, expected], [0, 0]]), abs=1e-12)


def test_dependency_is_that_of_a_model_without_the_layer() -> None:
    given, batch = model(12, 20, 6), tiny.data()
    matrix = dependency(given, batch, batch=3)
    hidden, context = batch.context(given)

    def contributions(removed: int | None) -> dict[int, torch.Tensor]:
        state, added = hidden, {}
        for index, layer in enumerate(given.model.layers):
            if index != removed:
                added[index] = layer(state, context) - state
                state = state + added[index]
        return added

    whole = contributions(None)
    for i, j in ((0, 1), (0, 4), (1, 3), (2, 4)):
        cosine = torch.nn.functional.cosine_similarity(whole[j], contributions(i)[j], dim=-1)
        assert matrix[i, j] == pytest.approx(float((1 - cosine).mean()), abs=1e-12)
