"""Fusing as an asset: plans keep their promises, layers keep their numbers, tests are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from assets.puzzle.calibration import sequences
from assets.puzzle.choice.tables import architecture_table
from assets.puzzle.fusing.plan import fuse_checkpoint
from assets.puzzle.fusing.windows import attention_free, in_model, kept_apart, plan_runs
from assets.puzzle.fusion import fuse, reversed_order
from assets.puzzle.scoring.build import model_kl
from resources.execution import Execution
from resources.models.loading import load, save
from tests.assets.puzzle import tiny
from warehouse.store import Artifact, Output, Request, Store

FULL = {"attention": {"kind": "full"}, "ffn": {"kind": "full"}}
RECIPE = {
    "min_run": 2,
    "max_run": None,
    "leave_last": True,
    "max_dependency": 2.0,
    "tokens": 128,
    "sequence_length": 32,
    "windows": None,
}


def ffn(width: int) -> dict[str, Any]:
    """A block without attention."""
    return {
        "attention": {"kind": "noop"},
        "ffn": {"kind": "full", "intermediate_size": width},
    }


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


def test_a_layer_that_is_a_run_already_counts_as_its_layers() -> None:
    blocks = [FULL, ffn(36), ffn(12), ffn(12), ffn(12), FULL]
    calm, sizes = np.zeros((6, 6)), [1, 3, 1, 1, 1, 1]

    def planned(max_run: int | None) -> list[list[int]]:
        return plan_runs(blocks, calm, max_dependency=0.5, max_run=max_run, sizes=sizes)

    assert planned(None) == [[1, 2, 3]]
    assert planned(4) == [[1, 2]]
    assert planned(3) == [[2, 3]]


def test_a_window_is_parted_where_a_layer_kept_its_attention() -> None:
    blocks = [FULL, ffn(12), ffn(12), FULL, ffn(12), FULL, ffn(12), ffn(12), ffn(12)]
    found = plan_runs(blocks, np.zeros((9, 9)), max_dependency=0.1, windows=[[1, 5], [6, 7]])
    assert found == [[1, 2], [6, 7]]
    held = list(range(9))
    assert kept_apart([[1, 5], [6, 7]], found, held) == {"not_fused_in_windows": [3, 4, 5]}
    assert kept_apart([[6, 7]], found, held) == kept_apart(None, found, held) == {}
    # A run that the search fused already counts as fused.
    assert kept_apart([[1, 3]], [], [0, 1, 1, 1]) == {}


def test_windows_are_the_parents_layers() -> None:
    held = [0, 1, 2, 2, 2, 3, 4]
    assert in_model([[1, 4], [5, 6]], held) == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match=r"window \[3, 5\] cuts the run"):
        in_model([[3, 5]], held)
    with pytest.raises(ValueError, match=r"layers 0 to 6"):
        in_model([[5, 7]], held)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


def publish(store: Store, key: str, output: Any) -> Artifact:
    """An artifact made by a function of its work folder."""
    return store.build(
        Request(key, None, lambda work, *_: output(work), {}, {}, 0, code_version="1")
    )


def checkpoint(store: Store, key: str, model: Any) -> Artifact:
    def made(work: Path) -> Output:
        save(model, work / "model", tiny.TOKENIZER)
        return Output(files={"": work / "model"})

    return publish(store, key, made)


def corpus_table() -> pa.Table:
    """The tiny corpus as the table that `problems/corpus` has."""
    table = tiny.corpus(100)
    return table.append_column(
        "row_id", pa.array([index.to_bytes(16, "big") for index in range(100)], pa.binary(16))
    ).append_column(
        "loss_mask", pa.array([[True] * len(ids) for ids in table["text_ids"].to_pylist()])
    )


def inputs(store: Store, model: str, assembled: Any, into: list[int | None]) -> dict[str, Artifact]:
    """Everything that fusing reads, for an architecture without attention but at its ends."""
    ends = (0, len(into) - 1)
    rows = [
        {"layer": layer, "attention": "full" if layer in ends else "noop", "ffn": "ratio_50"}
        for layer in range(len(into))
    ]
    labels = {"kind": ["text"] * 100, "domain": ["math"] * 100}
    corpus = corpus_table()
    for name, values in labels.items():
        corpus = corpus.append_column(name, pa.array(values))
    architecture = Output(tables={"architectures": architecture_table(model, rows, into)})
    parent = tiny.parent(len(into), dtype=torch.float32, seed=1)
    return {
        "parent": checkpoint(store, f"{model}/parent", parent),
        "assembled": checkpoint(store, f"{model}/assembled", assembled),
        "architecture": publish(store, f"{model}/architecture", lambda work: architecture),
        "corpus": publish(store, "problems/corpus", lambda work: Output(tables={"corpus": corpus})),
    }


def fused(store: Store, given: dict[str, Artifact], **changes: Any) -> Artifact:
    key = given["assembled"].key.replace("assembled", "fused")
    return store.build(
        Request(key, None, fuse_checkpoint, given, {**RECIPE, **changes}, 0, "1", model="ultra"),
        execution=Execution(),
    )


def test_a_model_is_fused_tested_and_timed(store: Store) -> None:
    blocks = [FULL, *[ffn(12)] * 5, FULL]
    model = tiny.parent(7, blocks=blocks, dtype=torch.float32)
    given = inputs(store, "ultra", model, [None] * 7)
    made = fused(store, given, max_run=2)
    rows = made.table("architectures").to_pylist()
    assert [row["fused_into"] for row in rows] == [None, 1, 1, 2, 2, None, None]
    tests = made.table("fusion_tests").to_pylist()
    assert [row["run"] for row in tests] == [[1, 2], [3, 4]]
    data = sequences(
        given["corpus"].table("corpus"),
        "score",
        tokens=128,
        sequence_length=32,
        seed=_seed(made),
    )
    parent, model = (load(given[name].path()) for name in ("parent", "assembled"))
    for row in tests:
        assert row["model"] == "ultra" and row["samples"] == len(data)
        forms = {
            "kl_sequential": model,
            "kl_reversed": reversed_order(model, row["run"]),
            "kl_parallel": fuse(model, [row["run"]]),
            "kl_last_norm": fuse(model, [row["run"]], norms="last"),
        }
        for column, form in forms.items():
            assert row[column] == pytest.approx(model_kl(parent, form, data).mean(), rel=1e-5)
        for other, one, low, high in (
            ("kl_parallel", "kl_sequential", "ci_low", "ci_high"),
            ("kl_last_norm", "kl_parallel", "last_norm_ci_low", "last_norm_ci_high"),
        ):
            assert row[low] <= row[other] - row[one] <= row[high]
    for when in ("before", "after"):
        assert made.observations[f"decode_seconds_{when}"] > 0
        assert made.observations[f"prefill_seconds_{when}"] > 0
    assert made.observations["latency_setting"]["tokens"] == 32


def _seed(artifact: Artifact) -> int:
    from warehouse.manifest import derived_seed

    return derived_seed(artifact.manifest["seed"], artifact.key, artifact.partition)


def test_a_run_that_the_search_fused_may_grow(store: Store) -> None:
    """Layers 2 to 4 are one already; 1 joins them, 5 is left as the last of the stretch."""
    unfused = tiny.parent(7, blocks=[FULL, *[ffn(12)] * 5, FULL], dtype=torch.float32)
    given = inputs(store, "nano", fuse(unfused, [[2, 3, 4]]), [None, None, 2, 2, 2, None, None])
    made = fused(store, given)
    rows = made.table("architectures").to_pylist()
    assert [row["fused_into"] for row in rows] == [None, 1, 1, 1, 1, None, None]
    assert made.table("fusion_tests")["run"].to_pylist() == [[1, 2, 3, 4]]
    assert made.metrics["layers_before"] == 5
    assert (made.metrics["layers"], made.metrics["fused_layers"]) == (4, 4)
    config = load(made.path()).config
    widths = [block["ffn"]["intermediate_size"] for block in config.block_configs]
    assert widths == [24, 48, 12, 24]
    # windows that were found for another architecture fuse what they can
    windowed = fused(store, given, windows=[[0, 1], [2, 6]])
    assert windowed.table("fusion_tests")["run"].to_pylist() == [[2, 3, 4, 5]]
    assert windowed.observations["not_fused_in_windows"] == [0, 1, 6]
    # with nothing left to fuse, what the search fused stays on record
    kept = fused(store, given, windows=[])
    rows = kept.table("architectures").to_pylist()
    assert [row["fused_into"] for row in rows] == [None, None, 2, 2, 2, None, None]
    assert (kept.metrics["fused_runs"], kept.metrics["fused_layers"]) == (0, 3)
    assert kept.metrics["kl"] == kept.metrics["kl_before"]
    assert kept.table("fusion_tests").num_rows == 0
    windowed = fused(store, given, windows=[[1, 5]])
    assert [row["fused_into"] for row in windowed.table("architectures").to_pylist()] == [
        None,
        *[1] * 5,
        None,
    ]


def test_a_model_of_another_architecture_is_refused(store: Store) -> None:
    model = tiny.parent(7, blocks=[FULL, *[ffn(12)] * 5, FULL], dtype=torch.float32)
    given = inputs(store, "super", model, [None, None, 2, 2, 2, None, None])
    with pytest.raises(ValueError, match="makes 5 layers, super/assembled has 7"):
        fused(store, given)
