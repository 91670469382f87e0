"""FFN Fusion: the fused layer equals the parallel form, and plans keep their promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from assets.puzzle.fusion import dependency, fuse, new_indices
from assets.puzzle.fusion_plan import attention_free, plan_runs
from resources.models.modeling import HeterogeneousLlamaForCausalLM
from tests.assets.puzzle import tiny

FULL = {"attention": {"kind": "full"}, "ffn": {"kind": "full"}}


def ffn(width: int | None) -> dict[str, Any]:
    """A block without attention."""
    kind = "noop" if width is None else "full"
    return {"attention": {"kind": "noop"}, "ffn": {"kind": kind, "intermediate_size": width}}


def model(*widths: int | None, **changes: Any) -> HeterogeneousLlamaForCausalLM:
    """One full layer, then attention-free ones of the given widths, then a full one."""
    blocks = [FULL, *(ffn(width) for width in widths), FULL]
    return tiny.parent(len(blocks), blocks=blocks, **changes)


def parallel(
    given: HeterogeneousLlamaForCausalLM, run: list[int], hidden: torch.Tensor
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
    assert layer.mlp.gate_proj.weight.shape == (38, 16)
    assert layer.mlp.down_proj.weight.shape == (16, 38)
    assert fused.config.block_configs[1]["ffn"]["intermediate_size"] == 38
    hidden = torch.randn(2, 5, 16, dtype=torch.float64)
    expected = parallel(given, [1, 2, 3], hidden)
    assert (layer(hidden, None) - expected).abs().max() < 1e-12


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


def test_plans() -> None:
    attention = [1, 0, 0, 0, 0, 1, 0, 0, 1, 0]
    blocks = [FULL if kept else ffn(12) for kept in attention]
    assert attention_free(blocks) == [[1, 2, 3, 4], [6, 7], [9]]
    calm = np.zeros((10, 10))
    assert plan_runs(blocks, calm, max_dependency=0.5) == [[1, 2, 3]]
    assert plan_runs(blocks, calm, max_dependency=0.5, leave_last=False) == [[1, 2, 3, 4], [6, 7]]
    two = plan_runs(blocks, calm, max_dependency=0.5, leave_last=False, max_run=2)
    assert two == [[1, 2], [3, 4], [6, 7]]
    tense = calm.copy()
    tense[1, 2] = 0.9
    assert plan_runs(blocks, tense, max_dependency=0.5, leave_last=False) == [[2, 3, 4], [6, 7]]
    assert plan_runs(blocks, calm, max_dependency=0.5, min_run=4) == []
    assert plan_runs(blocks, calm, max_dependency=0.5, windows=[[2, 4]]) == [[2, 3, 4]]
    assert plan_runs([FULL] * 3, np.zeros((3, 3)), max_dependency=0.5) == []
