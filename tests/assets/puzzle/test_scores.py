"""Metrics by hand, scores against whole models, the score cache, the prescreen, fused runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from assets.puzzle.fusion import fuse
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
from assets.puzzle.library import initialise
from assets.puzzle.scoring import data as score_data
from assets.puzzle.scoring.build import (
    divergence,
    fused_runs,
    log_probabilities,
    model_kl,
    score_blocks,
    variant_pairs,
)
from assets.puzzle.scoring.cache import ScoreCache
from assets.puzzle.scoring.data import Batch, leading, one_context, problems
from assets.puzzle.scoring.metrics import Tokens, compare, cosine_distance, normalised_error, refer
from assets.puzzle.scoring.prescreen import compose as sum_of_halves
from assets.puzzle.scoring.prescreen import survivors
from assets.puzzle.scoring.replacements import Replacement, score
from resources.execution import Execution
from resources.models.loading import save
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.assets.puzzle import tiny
from warehouse.files.filesystem import ASIDE

TOKENIZER = Path(__file__).parents[3] / "resources" / "models" / "bundled" / "tokenizer"
VARIANTS = {ATTENTION: ["full", "kv_1", "noop"], FFN: ["full", "ratio_50", "noop"]}
PAIRS = variant_pairs(*VARIANTS.values())
METRICS = ["kl", "lm_loss", "hidden_cosine", "hidden_mse", "top_k"]


def made(parent: HeterogeneousDecoderForCausalLM, folder: Path) -> Library:
    """A library of initialised halves."""
    for layer in range(parent.config.num_hidden_layers):
        for kind, variant in ((ATTENTION, "kv_1"), (FFN, "ratio_50")):
            half, source = new_half(parent, layer, kind, variant), parent_half(parent, layer, kind)
            if kind == ATTENTION:
                initialise.pool_attention(half, source)
            else:
                initialise.initialise_ffn(half, source, np.arange(24))
            file = folder / file_name(layer, kind, variant)
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file(half.state_dict(), file)
    return Library(parent, folder)


def changed(folder: Path, layer: int, kind: str, variant: str, edit: Callable[..., Any]) -> None:
    """Rewrites a half's file with edited weights."""
    file = folder / file_name(layer, kind, variant)
    weights = load_file(file)
    edit(weights)
    save_file(weights, file)


def everything(layers: int = 3) -> list[Replacement]:
    return [
        Replacement((layer,), *pair)
        for layer in range(layers)
        for pair in PAIRS
        if pair != ("full", "full")
    ]


@contextmanager
def layers_run(model: HeterogeneousDecoderForCausalLM) -> Iterator[list[int]]:
    """Counts how often layers of the parent run (entry by entry, so that len() is the count)."""
    calls: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
        for index, layer in enumerate(model.model.layers)
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def measure(
    metrics: Sequence[str],
    parent: torch.Tensor,
    child: torch.Tensor,
    *,
    ids: Sequence[int] = (0, 0, 0, 0),
    documents: Sequence[int] = (0, 0, 0, 0),
    answers: Sequence[bool] | None = None,
    k: int = 1,
) -> list[float]:
    """Metrics of logits `[T, V]` of one sequence."""
    length = len(parent)
    marked = None if answers is None else torch.tensor([list(answers)[:length]])
    tokens = Tokens(
        torch.tensor([list(ids)[:length]]), torch.tensor([list(documents)[:length]]), marked
    )
    state = torch.ones(1, length, 2).double()
    reference = refer(metrics, tokens, state, parent[None].clone(), k)
    return compare(reference, state, child[None].clone())[:, 0].tolist()


def test_kl_by_hand() -> None:
    certain = torch.zeros(1, 50).double()
    certain[0, 7] = 500
    uniform = torch.zeros(1, 50).double()
    assert measure(["kl"], certain, uniform) == [pytest.approx(math.log(50))]
    logits = torch.randn(4, 50, generator=torch.manual_seed(0)).double()
    assert measure(["kl"], logits, logits) == [pytest.approx(0, abs=1e-12)]
    assert measure(["kl_long"], logits, logits + 4) == [pytest.approx(0, abs=1e-12)]


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_kl_without_a_second_log_softmax_is_the_plain_form(scale: float) -> None:
    parent, child = scale * torch.randn(2, 64, 500, generator=torch.manual_seed(1))
    child = parent + 0.3 * child / scale + 100
    plain = divergence(torch.log_softmax(parent, -1), torch.log_softmax(child, -1)).mean()
    found = measure(["kl"], parent, child, ids=range(64), documents=[0] * 64)
    assert abs(found[0] - float(plain)) < 1e-6


def test_loss_by_hand() -> None:
    """Of four tokens in two documents, two have a next token; the child gives it 3 of 6 parts."""
    parent = torch.zeros(4, 4).double()
    child = torch.zeros(4, 4).double()
    child[0, 2] = child[2, 1] = math.log(3)
    child[1, 0] = child[3, 0] = 50  # across a boundary and at the end: not counted
    found = measure(["lm_loss"], parent, child, ids=[3, 2, 0, 1], documents=[0, 0, 1, 1])
    assert found == [pytest.approx(math.log(2) - math.log(4))]
    alone = measure(["lm_loss"], parent, child, ids=[3, 2, 0, 1], documents=[0, 1, 2, -1])
    assert alone == [0.0]


def test_hidden_state_metrics_by_hand() -> None:
    parent = torch.tensor([[[3.0, 4.0], [0.0, 2.0]], [[1.0, 0.0], [1.0, 0.0]]])
    child = torch.tensor([[[6.0, 8.0], [0.0, -2.0]], [[0.0, 5.0], [1.0, 0.0]]])
    # cosines 1 and -1; 0 and 1
    torch.testing.assert_close(cosine_distance(parent, child), torch.tensor([1.0, 0.5]))
    # (9 + 16 + 16) / (25 + 4); (1 + 25) / 2
    torch.testing.assert_close(normalised_error(parent, child), torch.tensor([41 / 29, 13.0]))
    assert normalised_error(parent, parent).tolist() == [0, 0]
    assert normalised_error(parent, torch.zeros_like(parent)).tolist() == [1, 1]


def test_top_k_by_hand() -> None:
    parent = torch.tensor([[4.0, 3, 2, 1]] * 4)
    child = torch.eye(4)  # its first tokens: 0, 1, 2, 3
    assert [measure(["top_k"], parent, child, k=k)[0] for k in (1, 2, 4)] == [0.75, 0.5, 0.0]


@pytest.mark.parametrize(
    ("parent", "child", "lost"),
    [([1, 2, 3], [1, 2, 3], 0), ([1, 2, 3], [1, 0, 3], 1), ([1, 0, 3], [1, 2, 3], -1)],
)
def test_task_by_hand(parent: list[int], child: list[int], lost: int) -> None:
    """Ids 1 2 3 follow 0; the answer is 2 3: what comes first at its two places counts."""
    logits = [torch.eye(4)[[*first, 0]] for first in (parent, child)]
    answers = (False, False, True, True)
    assert measure(["task"], *logits, ids=[0, 1, 2, 3], answers=answers) == [lost]
    elsewhere = torch.eye(4)[[0, 2, 3, 0]]  # wrong only where the question goes on
    right = torch.eye(4)[[1, 2, 3, 0]]
    assert measure(["task"], right, elsewhere, ids=[0, 1, 2, 3], answers=answers) == [0]


def test_every_metric_of_the_parent_is_zero() -> None:
    logits = torch.randn(4, 9, generator=torch.manual_seed(2)).double()
    values = measure([*METRICS, "task"], logits, logits, answers=[True] * 4, ids=[1, 2, 3, 4], k=2)
    assert values == pytest.approx([0] * 6, abs=1e-12)


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


def batches(data: Any, size: int) -> Iterator[Batch]:
    return (Batch(part) for part in data.batches(size))


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


def test_what_is_cached_is_not_computed(tmp_path: Path) -> None:
    model = tiny.parent()
    library, data = made(model, tmp_path / "library"), [*batches(tiny.data(), 2)]

    def scored() -> tuple[np.ndarray, int, int]:
        cache = ScoreCache(tmp_path / "cache", "parent", METRICS, 1)
        fresh = Library(model, tmp_path / "library")
        with layers_run(model) as calls:
            values = score(fresh, everything(), data, METRICS, cache=cache)
        return values, cache.computed, len(calls)

    first, computed, _ = scored()
    assert computed == len(everything()) * 4
    np.testing.assert_array_equal(first, score(library, everything(), data, METRICS))
    second, computed, calls = scored()
    assert (computed, calls) == (0, 0)
    np.testing.assert_array_equal(second, first)
    changed(tmp_path / "library", 1, FFN, "ratio_50", lambda w: w["mlp.up_proj.weight"].mul_(0.5))
    third, computed, _ = scored()
    affected = [child.layers == (1,) and child.ffn == "ratio_50" for child in everything()]
    assert computed == 3 * 4  # three attention variants, four sequences
    assert (np.abs(third - first).max((1, 2)) > 0).tolist() == affected
    np.testing.assert_array_equal(
        third, score(Library(model, tmp_path / "library"), everything(), data, METRICS)
    )
    other = ScoreCache(tmp_path / "cache", "another parent", METRICS, 1)
    assert other.read(1, data[0].digest, 2) == {}


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    model = tiny.parent()
    library, data = made(model, tmp_path / "library"), [*batches(tiny.data(), 2)]
    undisturbed = score(library, everything(), data, ["kl"])
    seen: list[float] = []

    def killed(_: str, share: float) -> None:
        seen.append(share)
        if len(seen) == 3:
            raise KeyboardInterrupt

    caches = [ScoreCache(tmp_path / "cache", "parent", ["kl"], 1) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        score(library, everything(), data, ["kl"], cache=caches[0], progress=killed)
    again = score(library, everything(), data, ["kl"], cache=caches[1])
    assert caches[0].computed == 3 * 8 * 2  # layers' batches, children, sequences
    assert caches[0].computed + caches[1].computed == len(everything()) * 4
    np.testing.assert_array_equal(again, undisturbed)


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [flipped, lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"PK\x03\x04" * 9]
)
def test_a_damaged_cache_is_not_trusted(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, "parent", ["kl"], 1)
    cache.write(0, "tokens", {"child": np.arange(300.0)[None]})
    (file,) = tmp_path.rglob("*.npz")
    assert list(cache.read(0, "tokens", 300)) == ["child"]
    file.write_bytes(damage(file.read_bytes()))
    assert cache.read(0, "tokens", 300) == {}
    cache.write(0, "tokens", {"child": np.ones((1, 300))})
    assert cache.read(0, "tokens", 300)["child"].sum() == 300


def test_a_cache_of_other_numbers_is_not_trusted(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, "parent", ["kl"], 1)
    cache.write(0, "tokens", {"child": np.full((1, 4), math.nan)})
    assert cache.read(0, "tokens", 4) == {}
    cache.write(0, "tokens", {"child": np.ones((1, 4))})
    assert cache.read(0, "tokens", 5) == {}
    cache.write(0, "tokens", {"another": np.zeros((1, 4))})
    assert set(cache.read(0, "tokens", 4)) == {"child", "another"}
    assert not list(tmp_path.rglob(f"{ASIDE}*"))


def test_composed_scores_by_hand() -> None:
    """1.0 + (1.2 - 1.0) + (1.3 - 1.0) = 1.5, and 1.1 where it is scored exactly."""
    pairs = [("full", "full"), ("full", "f"), ("a", "full"), ("a", "f")]
    sums = sum_of_halves(np.array([[1.0, 1.3, 1.2, 1.1]]), pairs)
    np.testing.assert_allclose(sums, [[1.0, 1.3, 1.2, 1.5]])


def test_the_best_of_every_layer_survive() -> None:
    sums = np.zeros((2, 9))
    others = [place for place, pair in enumerate(PAIRS) if "full" not in pair]
    assert others == [4, 5, 7, 8]
    sums[0, others], sums[1, others] = [4, 3, 1, 2], [1, 1, 9, 0]
    for keep, expected in ((1, [[7], [8]]), (2, [[7, 8], [4, 8]]), (9, [others, others])):
        kept = survivors(sums, PAIRS, keep)
        assert [[p for p in others if row[p]] for row in kept] == expected
        assert kept[:, [0, 1, 2, 3, 6]].all()


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


def answers(table: pa.Table, count: int) -> pa.Table:
    """The corpus with the last `count` tokens of every document as its answer."""
    lengths = [len(text) for text in table["text_ids"].to_pylist()]
    masks = [[False] * (length - count) + [True] * count for length in lengths]
    return table.append_column("loss_mask", pa.array(masks, pa.list_(pa.bool_())))


def test_problems_are_whole_documents_of_the_score_share(monkeypatch: pytest.MonkeyPatch) -> None:
    table = answers(tiny.corpus(), 3)
    assert sum(len(batch) for batch in problems(table, 99, seed=1)) == 10
    monkeypatch.setattr(score_data, "BATCH_TOKENS", 120)
    found = list(problems(table, 6, seed=1))
    share = [tuple(text) for text in table["text_ids"].to_pylist()[8::10]]
    rows = [(batch, row) for batch in found for row in range(len(batch.sequences.input_ids))]
    assert len(rows) == 6
    assert all(batch.sequences.input_ids.size <= 120 or len(batch) == 1 for batch in found)
    for batch, row in rows:
        real = batch.sequences.document_ids[row] >= 0
        text = batch.sequences.input_ids[row][real]
        assert tuple(text) in share
        assert batch.answers is not None
        assert np.flatnonzero(batch.answers[row]).tolist() == [*range(len(text) - 3, len(text))]
        assert batch.sequences.position_ids[row][real].tolist() == [*range(len(text))]
    with pytest.raises(ValueError, match="loss_mask"):
        list(problems(tiny.corpus(), 6, seed=1))
    with pytest.raises(ValueError, match="none of the 10 documents"):
        list(problems(answers(tiny.corpus(), 0), 6, seed=1))


def test_a_long_context_is_one_document() -> None:
    data = one_context(tiny.data())
    assert (data.document_ids == 0).all()
    assert (data.position_ids == np.arange(32)).all()
    assert leading([Batch(data), Batch(data)], 32 * 5) == 5
    assert leading([Batch(data)], 1) == 1


class Given:
    """What the build reads of an artifact."""

    def __init__(self, folder: Path | None = None, table: pa.Table | None = None) -> None:
        self.folder, self._table, self.data_version = folder, table, "version"
        self.manifest: dict[str, Any] = {"tables": {}}

    def path(self) -> Path | None:
        return self.folder

    def table(self, _: str, columns: list[str]) -> pa.Table:
        assert self._table is not None
        return self._table.select(columns)


RECIPE: dict[str, Any] = {
    "attention": VARIANTS[ATTENTION],
    "ffn": VARIANTS[FFN],
    "tokens": 128,
    "sequence_length": 32,
    "metrics": [*METRICS, "kl_long", "task"],
    "k": 2,
    "task_problems": 5,
    "long_context": {"tokens": 128, "sequence_length": 64},
    "prescreen": {"tokens": 64, "keep": 1},
    "fused_runs": {"lengths": [2], "ffn": ["full"]},
    "seed": 3,
    "asset_key": "super/block_scores",
    "model": "super",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("inputs")
    model = tiny.parent(dtype=torch.float32)
    save(model, folder / "parent", TOKENIZER)
    made(model, folder / "library")
    for layer in range(3):  # two partitions
        target = folder / ("one" if layer < 2 else "two")
        target.mkdir(exist_ok=True)
        (folder / "library" / f"layer_{layer}").rename(target / f"layer_{layer}")
    return {
        "parent": Given(folder / "parent"),
        "corpus": Given(table=answers(tiny.corpus(200), 1)),
        "block_library@group_1": Given(folder / "one"),
        "block_library@group_2": Given(folder / "two"),
    }


def test_the_tables_of_a_build(inputs: dict[str, Any], tmp_path: Path) -> None:
    seen: list[float] = []
    execution = Execution(home=str(tmp_path), progress=lambda _, share: seen.append(share))
    made_with = score_blocks(tmp_path, inputs, RECIPE, execution)
    rows = made_with.tables["block_scores"].to_pylist()
    assert len(rows) == 3 * 9 * 7
    assert seen == sorted(seen) and seen[-1] == 1.0
    by_place = {(r["metric"], r["layer"], r["attention"], r["ffn"]): r for r in rows}
    for (metric, layer, attention, ffn), row in by_place.items():
        assert row["samples"] == {"kl_long": 2, "task": 5}.get(metric, 4)
        assert row["ci_low"] <= row["value"] + 1e-12 and row["value"] <= row["ci_high"] + 1e-12
        if (attention, ffn) == ("full", "full"):
            assert row["value"] == 0
        if "full" in (attention, ffn):
            assert row["source"] == "exact"
        elif row["source"] == "composed":
            halves = [
                by_place[metric, layer, *pair]["value"]
                for pair in ((attention, "full"), ("full", ffn))
            ]
            assert row["value"] == pytest.approx(sum(halves))
    for metric in RECIPE["metrics"]:
        for layer in range(3):
            sources = [r["source"] for r in rows if (r["metric"], r["layer"]) == (metric, layer)]
            assert sources.count("composed") == 3
    runs = made_with.tables["run_scores"].to_pylist()
    assert [row["layers"] for row in runs] == [[1, 2]] * 7
    assert next(iter(made_with.metrics)) == "median_kl"
    assert set(made_with.images) >= {"block_scores", "block_scores_task"}
    # everything again, from the cache and without a prescreen: only what was composed is computed
    again = score_blocks(tmp_path / "2", inputs, RECIPE, execution)
    assert again.tables["block_scores"].equals(made_with.tables["block_scores"])
    assert again.observations["sequences_computed"] == 0
    exact = score_blocks(tmp_path / "3", inputs, {**RECIPE, "prescreen": None}, execution)
    assert set(exact.tables["block_scores"]["source"].to_pylist()) == {"exact"}
    assert exact.observations["sequences_computed"] == 3 * 3 * (4 + 2 + 5)


def test_a_layer_without_a_variant_is_named(inputs: dict[str, Any], tmp_path: Path) -> None:
    without = {name: made_by for name, made_by in inputs.items() if not name.endswith("group_2")}
    with pytest.raises(FileNotFoundError, match=r"ffn variant 'ratio_50' for layer 2"):
        score_blocks(tmp_path, without, RECIPE, Execution())
