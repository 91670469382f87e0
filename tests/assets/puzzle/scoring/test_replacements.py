"""Scores of children and fused runs against whole models, and the passes that they take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from assets.puzzle.fusion import fuse
from assets.puzzle.halves import (
    FFN,
    PAIR,
    Library,
    compose,
    file_name,
)
from assets.puzzle.scoring.build import (
    divergence,
    fused_runs,
    log_probabilities,
    model_kl,
    variant_pairs,
)
from assets.puzzle.scoring.data import Batch
from assets.puzzle.scoring.replacements import Replacement, score
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.assets.puzzle import tiny
from tests.assets.puzzle.halves import made
from tests.assets.puzzle.scoring.children import (
    METRICS,
    PAIRS,
    batches,
    changed,
    everything,
    layers_run,
)


def test_scores_equal_whole_models(tmp_path: Path) -> None:
    """Every metric of every child is that of the composed model run by itself."""
    model = tiny.parent()
    library, data = made(model, tmp_path), tiny.data(tokens=96)
    children = everything()
    values = score(library, children, [*batches(data, 2)], METRICS, k=3, together=192)
    reference = run(model, data)
    for child, found in zip(children, values, strict=True):
        architecture = [("full", "full")] * 3
        architecture[child.layers[0]] = (child.attention, child.ffn)
        expected = plain_metrics(reference, run(compose(library, architecture), data), data, k=3)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@torch.no_grad()
def run(model: HeterogeneousDecoderForCausalLM, data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(state before the final norm, state after it) of a model."""
    hidden, context = data.context(model)
    for layer in model.model.layers:
        hidden = layer(hidden, context)
    return log_probabilities(model, hidden), model.model.norm(hidden)


def plain_metrics(parent: Any, child: Any, data: Any, k: int) -> np.ndarray:
    """The first five metrics `[5, N]` in their plainest form."""
    (logs, state), (other, changed_state) = parent, child
    ids, documents = torch.from_numpy(data.input_ids), torch.from_numpy(data.document_ids)
    losses = []
    for log in (logs, other):
        each = -log[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        same = documents[:, 1:] == documents[:, :-1]
        losses.append(torch.stack([row[keep].mean() for row, keep in zip(each, same, strict=True)]))
    likely = logs.topk(k, -1).indices
    inside = (likely == other.argmax(-1, keepdim=True)).any(-1).double()
    return torch.stack(
        [
            divergence(logs, other).mean(-1),
            losses[1] - losses[0],
            (1 - torch.cosine_similarity(state, changed_state, dim=-1)).mean(-1),
            (state - changed_state).square().sum((1, 2)) / state.square().sum((1, 2)),
            1 - inside.mean(-1),
        ]
    ).numpy()


def test_more_metrics_need_no_more_forward_passes(tmp_path: Path) -> None:
    model = tiny.parent()
    library, data = made(model, tmp_path), [Batch(tiny.data(tokens=64))]
    counts = []
    for metrics in (["kl"], METRICS, ["hidden_mse"]):
        with layers_run(model) as calls:
            score(library, everything(), data, metrics)
        counts.append(len(calls))
    assert counts[0] == counts[1] == counts[2]


def test_a_child_costs_only_the_layers_above_it(tmp_path: Path) -> None:
    model = tiny.parent()
    library, data = made(model, tmp_path), [Batch(tiny.data(tokens=64))]
    with layers_run(model) as calls:
        score(library, [Replacement((1,), "noop", "ratio_50")], data, ["kl"])
    assert calls == [0, 1, 2, 2]  # the parent, then the layer above
    with layers_run(model) as calls:  # all children of a layer go up together
        score(library, everything(), data, ["kl"], together=10**6)
    assert calls == [*(0, 1, 2), *(1, 2), 0, 2, 1]  # between them the parent's state rises


def test_a_run_is_the_fused_model(tmp_path: Path) -> None:
    """A run's score is the KL of the model in which FFN Fusion made one layer of it."""
    model, data = tiny.parent(5), tiny.data()
    library = made(model, tmp_path)
    runs = fused_runs({"lengths": [2, 3], "ffn": ["full", "ratio_50"]}, 5)
    assert len(runs) == 2 * (3 + 2)
    assert {run.layers for run in runs} == {(1, 2), (2, 3), (3, 4), (1, 2, 3), (2, 3, 4)}
    values = score(library, runs, [*batches(data, 2)], ["kl"])
    for fused, found in zip(runs, values, strict=True):
        architecture = [
            ("noop", fused.ffn) if layer in fused.layers else ("full", "full") for layer in range(5)
        ]
        whole = fuse(compose(library, architecture), [fused.layers])
        np.testing.assert_allclose(found[0], model_kl(model, whole, data), rtol=1e-9)


def test_runs_that_cannot_be_are_refused() -> None:
    assert fused_runs(None, 3) == []
    with pytest.raises(ValueError, match="no run of 3 layers"):
        fused_runs({"lengths": [2, 3], "ffn": ["full"]}, 3)
    with pytest.raises(ValueError, match="linear"):
        fused_runs({"lengths": [2], "ffn": ["linear"]}, 3)


def test_a_coupled_library(tmp_path: Path) -> None:
    model, data = tiny.parent(2), tiny.data(tokens=64)
    halves = made(model, tmp_path / "halves")
    for layer in range(2):
        for pair in PAIRS:
            if {"kv_1", "ratio_50"} & set(pair):
                file = tmp_path / "pairs" / file_name(layer, PAIR, "/".join(pair))
                file.parent.mkdir(parents=True, exist_ok=True)
                save_file(halves.block(layer, *pair).state_dict(), file)
    pairs = Library(model, tmp_path / "pairs")
    assert pairs.coupled
    children = [*everything(2), Replacement((1,), "noop", "ratio_50")]
    both = [score(each, children, [Batch(data)], ["kl"]) for each in (halves, pairs)]
    np.testing.assert_allclose(*both, rtol=1e-9)


def poison(weights: dict[str, torch.Tensor]) -> None:
    weights["mlp.up_proj.weight"][0, :3] = math.nan


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    model = tiny.parent(2)
    library, data = made(model, tmp_path), [Batch(tiny.data(tokens=64))]
    changed(tmp_path, 1, FFN, "ratio_50", poison)
    message = r"layer 1, ffn variant 'ratio_50': 3 of 192 values of mlp.up_proj.weight"
    with pytest.raises(ValueError, match=message):
        score(library, everything(2), data, ["kl"])
    changed(tmp_path, 1, FFN, "ratio_50", lambda weights: weights.pop("mlp.up_proj.weight"))
    with pytest.raises(ValueError, match=r"layer 1, ffn variant 'ratio_50'.*mlp.up_proj.weight"):
        score(library, everything(2), data, ["kl"])
    (tmp_path / file_name(1, FFN, "ratio_50")).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"layer 1, ffn variant 'ratio_50'"):
        score(library, everything(2), data, ["kl"])
    with torch.no_grad():
        model.model.norm.weight[0] = math.inf
    with pytest.raises(FloatingPointError, match=r"layer 0, variant 'full/ratio_50'"):
        score(library, everything(2), data, ["kl"])


def test_kl_of_replacements_equals_whole_models(tmp_path: Path) -> None:
    """Cached prefixes and stacked children give what composing and running each model gives."""
    model, batch = tiny.parent(), tiny.data()
    halves = made(model, tmp_path)
    pairs = variant_pairs(["full", "kv_1", "noop"], ["full", "ratio_50", "noop"])
    values = tiny.replacement_kl(halves, pairs, batch)
    for layer in range(3):
        for place, pair in enumerate(pairs):
            architecture = [("full", "full")] * 3
            architecture[layer] = pair
            whole = model_kl(model, compose(halves, architecture), batch)
            np.testing.assert_allclose(values[layer, place], whole, rtol=1e-9, atol=1e-14)
