"""Fused runs in the search: their costs are those of the fused model, and they compete fairly."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from assets.puzzle.costs.closed_form import cost_rows, non_block_costs
from assets.puzzle.fusion import fuse
from assets.puzzle.runs import TIMES, candidate_rows, layer_indices, wide_ffn
from assets.puzzle.search import search
from resources.models.accounting import Shape, activation_bytes
from tests.assets.puzzle import tiny
from tests.assets.puzzle.oracle import ORACLE

COSTS = {"dtype_bytes": 2, "batch": 4, "context": 8}
NOOP = {"attention": {"kind": "noop"}, "ffn": {"kind": "full", "intermediate_size": 12}}
FULL = {"attention": {"kind": "full"}, "ffn": {"kind": "full"}}


def run_scores(*runs: tuple[list[int], str, float]) -> pa.Table:
    return pa.table(
        {
            "layers": pa.array([layers for layers, _, _ in runs], pa.list_(pa.int64())),
            "ffn": [ffn for _, ffn, _ in runs],
            "metric": ["kl"] * len(runs),
            "value": [value for _, _, value in runs],
        }
    )


def pair_rows(shape: Shape, layers: int, **more: Any) -> dict[tuple[int, str, str], dict[str, Any]]:
    rows = cost_rows(shape, layers, ["full", "noop"], ["full", "ratio_50"], COSTS)
    return {(row["layer"], row["attention"], row["ffn"]): row | more for row in rows}


@pytest.mark.parametrize("bias", [False, True])
def test_sizes_are_those_of_the_fused_model(bias: bool) -> None:
    model = tiny.parent(5, blocks=[FULL, NOOP, NOOP, NOOP, FULL], mlp_bias=bias)
    shape = Shape.of(model.config.to_dict())
    pairs = pair_rows(shape, 5)
    scores = run_scores(([1, 2, 3], "ratio_50", 0.25))
    (row,) = candidate_rows(scores, pairs, shape, COSTS["context"])
    assert (row["layer"], row["variant"], row["kl"]) == ([1, 2, 3], "fused/ratio_50", 0.25)
    fused = fuse(model, [[1, 2, 3]])
    ends = 2 * pairs[0, "full", "full"]["parameters"]
    rest = non_block_costs(shape, COSTS)["parameters"]
    assert row["parameters"] + ends + rest == fused.num_parameters()
    assert row["weight_bytes"] == 2 * row["parameters"]
    assert row["kv_bytes_per_token"] == 0
    # 36 channels, gate, up and product, beside the stream and its norm: 8 tokens of 2 bytes
    assert row["activation_bytes"] == 8 * 2 * (3 * 36 + 2 * 16)
    # the parent's largest block, with an FFN of 24, is in the model's memory already
    beyond = row["activation_bytes"] - activation_bytes(shape, "full", "full", 8, 2)
    assert beyond == 8 * 2 * 3 * (36 - 24)
    assert row["memory_bytes"] == row["weight_bytes"] + beyond


def test_times_are_measured_or_summed() -> None:
    shape = Shape.of(tiny.parent(3).config.to_dict())
    scores = run_scores(([1, 2], "ratio_50", 1.0))
    pairs = pair_rows(shape, 3, prefill_seconds=0.5, decode_seconds=0.25)
    (row,) = candidate_rows(scores, pairs, shape, 8)
    assert [row.get(name) for name in TIMES] == [1.0, 0.5, None, None]
    # two halves are as wide as the parent
    measured = {"ratio_100": dict.fromkeys(TIMES, 0.375)}
    (row,) = candidate_rows(scores, pairs, shape, 8, measured)
    assert (row["prefill_seconds"], row["decode_seconds"]) == (0.375, 0.375)
    (row,) = candidate_rows(scores, pair_rows(shape, 3, prefill_seconds=None), shape, 8)
    assert row["prefill_seconds"] is None


def test_runs_that_cannot_be() -> None:
    shape = Shape.of(tiny.parent(4).config.to_dict())
    pairs = pair_rows(shape, 4)
    assert candidate_rows(run_scores(([0, 1], "full", 0.0)), pairs, shape, 8) == []
    without = {key: row for key, row in pairs.items() if key[1] != "noop"}
    with pytest.raises(ValueError, match=r"run \[1, 2\], FFN 'full': layer 1 has no cost"):
        candidate_rows(run_scores(([1, 2], "full", 0.0)), without, shape, 8)
    with pytest.raises(ValueError, match="linear"):
        wide_ffn("linear", 2)
    assert wide_ffn("ratio_37.5", 3) == "ratio_112.5"


def test_a_run_competes_in_the_search() -> None:
    """The oracle's joint replacement of L2 and L3: kl 2, memory 12, parameters 150.

    Its layers cost 76 and 75 parameters; fused they share one norm, one parameter of hidden size 1.
    """
    shape = Shape(1, 1, 1, 1, 25, 1)
    single = {"weight_bytes": 0, "kv_bytes_per_token": 0}
    pairs = {
        (2, "noop", "full"): {**single, "memory_bytes": 6, "parameters": 76},
        (3, "noop", "full"): {**single, "memory_bytes": 6, "parameters": 75},
    }
    fused = candidate_rows(run_scores(([2, 3], "full", 2.0)), pairs, shape, 0)
    singles = [
        {
            "layer": [int(layer[1:])],
            "variant": variant,
            **dict(
                zip(("kl", "memory_bytes", "rt", "parameters"), map(float, values), strict=True)
            ),
        }
        for layer, variants in ORACLE["library"].items()
        for variant, values in variants.items()
    ]
    columns = ("layer", "variant", "kl", "memory_bytes", "parameters")
    table = [{name: row[name] for name in columns} for row in [*singles, *fused]]
    found = search(pa.Table.from_pylist(table), {"memory_bytes": 30})
    expected, choice, name, totals = ORACLE["cases"][
        "mem<=30 with joint replacement FUSED(L2,L3)=(2,12,7,150)"
    ]
    assert name == "FUSED"
    assert found.objective == expected
    assert found.choice == [*choice, "fused/full"]
    assert found.layers == [(0,), (1,), (2, 3)]
    kl, memory, _, parameters = totals
    assert [found.totals[name] for name in columns[2:]] == [kl, memory, parameters]


def test_layers_of_an_architecture() -> None:
    def rows(*into: int | None) -> list[dict[str, Any]]:
        return [{"layer": layer, "fused_into": index} for layer, index in enumerate(into)]

    plain = rows(None, None, None)
    assert layer_indices(plain) == [0, 1, 2]
    fused = rows(None, 1, 1, 1, None, 3, 3, 4, 4)
    assert layer_indices(fused) == [0, 1, 1, 1, 2, 3, 3, 4, 4]
    with pytest.raises(ValueError, match=r"layer 2: fused_into is 1, but .* 2 the next"):
        layer_indices(rows(None, None, 1, 1))
