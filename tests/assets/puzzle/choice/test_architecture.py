"""From scores, costs and a cost profile to an architecture: limits, targets, batches, runs."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from assets.puzzle.choice import batch_sizes as batches
from assets.puzzle.choice.candidate_costs import join
from assets.puzzle.choice.choose import choose_architecture
from assets.puzzle.choice.problem import Problem, make_problem
from assets.puzzle.choice.tables import architecture_rows, architecture_table, chosen_rows
from assets.puzzle.search import InfeasibleError, search
from resources.execution import Execution
from resources.models.accounting import Shape
from resources.models.loading import save
from tests.assets.puzzle import tiny
from tests.assets.puzzle.oracle import ORACLE
from tests.assets.puzzle.problems import cost_table, profile, recipe, score_table
from warehouse.store import Artifact, Output, Request, Store

GIB = 2**30
REST = {"parameters": 5, "weight_bytes": 5, "kv_bytes_per_token": 0, "memory_bytes": 7}

# Two FFNs and two attentions in three layers; scores rise with the layer.
PAIRS = {
    ("full", "full"): (100, 4),
    ("full", "ratio_50"): (70, 4),
    ("noop", "full"): (60, 0),
    ("noop", "ratio_50"): (30, 0),
}
DAMAGE = {
    ("full", "full"): 0,
    ("full", "ratio_50"): 2,
    ("noop", "full"): 3,
    ("noop", "ratio_50"): 6,
}
SCORES = {(layer, *pair): (layer + 1) * DAMAGE[pair] for layer in range(3) for pair in PAIRS}


def problem(limits: dict[str, Any], **changes: Any) -> Problem:
    given = {name: changes.pop(name) for name in ("profile", "runs", "shape") if name in changes}
    costs = cost_table(3, PAIRS, batch=2, context=10)
    return make_problem(recipe(limits, **changes), score_table(SCORES), costs, REST, **given)


@pytest.mark.parametrize("rate", [0, 150, 250])
def test_batch_sweep_of_the_oracle(rate: int) -> None:
    """Three equal layers {full, nokv, noop}: (4 GiB + 1 GiB a sequence, 10 + 2b ms), (3 GiB,
    8 + b/2 ms), nothing; one token a sequence, so that sequences a second are tokens a second."""
    sizes = [1, 2, 4, 8, 16, 32]
    times = {
        "full": {b: (0.0, (10 + 2 * b) / 1000) for b in sizes},
        "nokv": {b: (0.0, (8 + b / 2) / 1000) for b in sizes},
        "gone": dict.fromkeys(sizes, (0.0, 0.0)),
    }
    damage = {"full": 0, "nokv": 3, "gone": 20}
    weights = {"full": (4 * GIB, GIB), "nokv": (3 * GIB, 0), "gone": (0, 0)}
    limits = {"memory_bytes": {"max": 24 * GIB}} | ({"throughput": {"min": rate}} if rate else {})
    made = make_problem(
        recipe(limits, batches=sizes),
        score_table({(layer, a, "full"): damage[a] for layer in range(3) for a in damage}),
        cost_table(3, {(a, "full"): cost for a, cost in weights.items()}),
        {},
        profile=profile(3, {(a, "full"): by for a, by in times.items()}),
    )
    swept = batches.sweep(made)
    name = f">={rate} seq/s" if rate else "no throughput target"
    prefix = "batch sweep: " + ("mem<=24 GiB, " if rate else "3 equal layers, mem<=24 GiB, ")
    expected = ORACLE["cases"][prefix + name]
    for each in swept:
        objective, gib, choice = expected[str(each.batch)]
        assert each.found is not None
        assert each.found.objective == objective
        assert each.found.totals["memory_bytes"] == gib * GIB
        assert sorted(part.split("/")[0] for part in each.found.choice) == sorted(
            {"noop": "gone"}.get(part, part) for part in choice
        )
    batch, found = batches.best(swept)
    # of the batches without a throughput to keep, 1, 2 and 4 keep the parent: the largest is taken
    assert (batch, found.objective) == {0: (4, 0), 150: (8, 6), 250: (32, 9)}[rate]
    table = batches.sweep_table("m", swept, batch).to_pylist()
    assert [row["batch"] for row in table if row["chosen"]] == [batch]


def test_a_sweep_tells_what_each_batch_could_reach() -> None:
    made = problem({"memory_bytes": {"max": 300}}, batches=[1, 2])
    # the least: 70 + 40 with attention in layer 0, twice 30, and 7 besides: 177 at batch 1
    swept = batches.sweep(
        dataclasses.replace(made, bounds={batch: {"memory_bytes": (None, 9)} for batch in (1, 2)})
    )
    assert [each.tightest for each in swept] == [{"memory_bytes": 177}, {"memory_bytes": 217}]
    with pytest.raises(InfeasibleError, match=r"batch 1: .*batch 2: ") as caught:
        batches.best(swept)
    assert caught.value.tightest == {"memory_bytes (batch 1)": 177, "memory_bytes (batch 2)": 217}
    table = batches.sweep_table("m", swept, 1).to_pylist()
    assert [row["reachable"] for row in table] == ["memory_bytes 177", "memory_bytes 217"]
    assert not any(row["feasible"] for row in table)


def test_limits_of_seconds() -> None:
    """Prefill 2 s and 1 s a step in a full layer, half of it without attention, 1 s and 0.5 s in
    the rest of the model; 10 steps. The parent at batch 2: prefill 7, step 3.5, request 42."""
    full, less = {2: (2.0, 1.0), 4: (3.0, 1.0)}, {2: (1.0, 0.5), 4: (1.5, 0.5)}
    times = {(a, f): full if a == "full" else less for a, f in PAIRS}
    measured = profile(3, times, decode=10, rest=(1.0, 0.5))
    parent = problem({"parameters": 1.0}, profile=measured).parent[2]
    assert parent["prefill_seconds"] == parent["time_to_first_token"] == 7
    assert (parent["decode_seconds"], parent["latency_seconds"]) == (3.5, 42)
    assert parent["throughput"] == pytest.approx(20 / 42)
    assert parent["memory_bytes"] == 300 + 7 + 3 * 2 * 10 * 4
    for limits, noops in (
        ({"time_to_first_token": {"max": 6}}, 1),
        ({"latency_seconds": {"max": 30}}, 2),  # each attention less saves 1 + 5
        ({"throughput": {"min": 20 / 36}}, 1),
        ({"throughput": 42 / 30}, 2),
        ({"decode_seconds": 0.8, "throughput": {"min": 0.1}}, 2),
    ):
        made = problem(limits, profile=measured)
        found = search(made.candidates[2], made.bounds[2], "kl", **made.rules)
        assert sum(name.startswith("noop") for name in found.choice) == noops, limits
    # the bound of a share is of the parent at the costs' batch, whatever batch is solved
    swept = problem({"throughput": 42 / 30}, profile=measured, batches=[4])
    assert swept.bounds[4] == {"latency_seconds": (None, pytest.approx(40 / (20 / 30)))}
    both = problem(
        {"throughput": {"min": 1, "max": 4}, "latency_seconds": {"max": 15}}, profile=measured
    )
    assert both.bounds[2] == {"latency_seconds": (5, 15)}
    with pytest.raises(InfeasibleError) as caught:
        batches.best(batches.sweep(problem({"throughput": {"min": 1}}, profile=measured)))
    # attention in the first layer only: 2 + 1 + 1 + 1 and 10 x 2.5
    assert caught.value.tightest == {"latency_seconds": 30, "throughput": pytest.approx(20 / 30)}


def test_seconds_that_are_missing_are_asked_for() -> None:
    times = {pair: {4: (1.0, 1.0)} for pair in PAIRS}
    with pytest.raises(ValueError, match=r"limit on latency_seconds.*costs.profile"):
        problem({"latency_seconds": {"max": 3}})
    with pytest.raises(ValueError, match=r"no batch 2, only \[4\]"):
        problem({"latency_seconds": {"max": 3}}, profile=profile(3, times))
    with pytest.raises(ValueError, match=r"no batch 2, only \[4\]"):
        problem({"throughput": 2}, profile=profile(3, times), batches=[4])
    limits = {"throughput": {"min": 2}, "parameters": 0.9}
    made = problem(limits, profile=profile(3, times), batches=[4])
    assert list(made.candidates) == [4]
    some = {pair: times[pair] for pair in PAIRS if pair != ("noop", "full")}
    with pytest.raises(ValueError, match=r"layer 0, variant 'noop/full'.*no seconds at batch 4"):
        problem({"throughput": {"min": 2}}, profile=profile(3, some), batches=[4])
    # a profile that nothing asks for need not know the costs' batch
    assert problem({"parameters": 0.9}, profile=profile(3, times)).parent[2]["parameters"] == 305
    where = {"engine": "transformers", "hardware": "an H200"}
    with pytest.raises(ValueError, match=r"hardware 'an H200', but .* measured on 'abacus'"):
        problem({"parameters": 0.9}, profile=profile(3, times), target=where, shape=None)


def test_targets_and_rules_take_rows_out() -> None:
    shape = Shape(16, 4, 2, 4, 90, 64)
    target = {"engine": "vllm", "tensor_parallel": 2}
    made = problem({"parameters": 0.9}, target=target, shape=shape)
    # half of 90 is 45, which two ranks cannot share
    gone = {(layer, a, "ratio_50") for layer in range(3) for a in ("full", "noop")}
    assert {row[:3] for row in made.removed} == gone | {(0, "noop", "full")}
    found = search(made.candidates[2], made.bounds[2], "kl", **made.rules)
    assert found.choice == ["full/full", "noop/full", "full/full"]
    # two blocks less of 40 are too few for a limit that asks for three
    with pytest.raises(InfeasibleError) as caught:
        batches.best(batches.sweep(problem({"parameters": 0.6}, target=target, shape=shape)))
    assert caught.value.tightest == {"parameters": 225}
    grouped = problem({"parameters": 0.8}, groups=[[1, 2]])
    found = search(grouped.candidates[2], grouped.bounds[2], "kl", **grouped.rules)
    # 61 parameters to save: half FFNs everywhere (30 each) for 2 + 4 + 6
    assert found.choice == ["full/ratio_50"] * 3


def test_candidates_are_scores_joined_to_costs_and_ruled_out_by_name() -> None:
    made = problem(
        {"parameters": 0.5, "memory_bytes": {"max": 7, "min": 2}},
        fixed=[{"layer": 1, "attention": "noop"}],
        forbidden=[{"ffn": "ratio_50"}],
    )
    # three full blocks and what is besides them
    assert made.parent[2]["parameters"] == 305
    assert made.bounds[2] == {"parameters": (None, 152.5), "memory_bytes": (2, 7)}
    assert made.rules["forbidden"] == [
        (0, "full/ratio_50"),
        (0, "noop/full"),
        (0, "noop/ratio_50"),
        (1, "full/full"),
        (1, "full/ratio_50"),
        (1, "noop/ratio_50"),
        (2, "full/ratio_50"),
        (2, "noop/ratio_50"),
    ]
    with pytest.raises(ValueError, match=r"layer 2, variant 'noop/ratio_50'.*no kl score"):
        join(score_table(dict(list(SCORES.items())[:-1])), cost_table(3, PAIRS), REST, "kl")


RUNS = pa.Table.from_pylist(
    [
        {"model": "m", "layers": layers, "ffn": ffn, "metric": "kl", "value": value}
        | {"ci_low": 0.0, "ci_high": 1.0, "samples": 4}
        for layers, ffn, value in (
            ([0, 1], "full", 1.0),
            ([1, 2], "full", 4.0),
            ([1, 2], "ratio_50", 30.0),
        )
    ]
)
SHAPE = Shape(16, 4, 2, 4, 24, 64)


def test_fused_runs_compete_with_their_layers() -> None:
    limits = {"kv_bytes_per_token": {"max": 4}}
    made = problem(limits, runs=RUNS, shape=SHAPE)
    # without attention in layers 1 and 2 the layers alone cost 6 + 9, the run 4
    found = search(made.candidates[2], made.bounds[2], "kl", **made.rules)
    assert (found.choice, found.layers, found.objective) == (
        ["full/full", "fused/full"],
        [(0,), (1, 2)],
        4,
    )
    alone = problem(limits)
    assert search(alone.candidates[2], alone.bounds[2], "kl", **alone.rules).objective == 15
    for rules in (
        {"forbidden": [{"layer": 2, "attention": "noop", "ffn": "full"}]},
        {"fixed": [{"layer": 1, "ffn": "ratio_50"}]},
        {"max_noops": 1},
        {"target": {"engine": "vllm", "tensor_parallel": 2}, "shape": Shape(16, 4, 2, 4, 25, 64)},
    ):
        kept = problem(
            limits | {"kv_bytes_per_token": {"max": 8}}, **({"runs": RUNS, "shape": SHAPE} | rules)
        )
        found = search(kept.candidates[2], kept.bounds[2], "kl", **kept.rules)
        assert "fused/full" not in found.choice, rules
    # one wide FFN is faster than two, where the profile has measured it
    times = {pair: {2: (1.0, 1.0)} for pair in PAIRS}
    wide = [{"kind": "ffn", "variant": "ratio_200", "batch": 2}]
    wide[0] |= {"prefill_seconds": 0.5, "decode_seconds": 0.5}
    for ffns, seconds in (([], 2 + 2 * 1), (wide, 0.5 + 0.5)):
        timed = problem(limits, runs=RUNS, shape=SHAPE, profile=profile(3, times, ffns=ffns))
        rows = {
            (tuple(row["layer"]), row["variant"]): row for row in timed.candidates[2].to_pylist()
        }
        assert rows[(1, 2), "fused/full"]["latency_seconds"] == seconds


def test_rows_of_a_run_name_the_layer_it_becomes() -> None:
    rows = [
        {"layer": layers, "attention": attention, "ffn": "full"}
        for layers, attention in (
            ([0], "full"),
            ([1, 2], "noop"),
            ([3, 4, 5], "noop"),
            ([6], "noop"),
        )
    ]
    layers = architecture_rows(rows)
    assert [row["fused_into"] for row in layers] == [None, 1, 1, 2, 2, 2, None]
    assert [row["layer"] for row in layers] == list(range(7))
    candidates = pa.Table.from_pylist(
        [
            {"layer": row["layer"], "variant": name}
            for row, name in zip(rows, ["full/full", *["fused/full"] * 2, "noop/full"], strict=True)
        ]
    )
    assert chosen_rows(candidates, architecture_table("m", layers)) == (0, 1, 2, 3)
    with pytest.raises(ValueError, match="not among the candidates"):
        chosen_rows(candidates.slice(1), architecture_table("m", layers))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    store = Store(tmp_path_factory.mktemp("home"))
    rest = pa.Table.from_pylist([REST])
    costs = {"block_costs": cost_table(3, PAIRS, batch=2, context=10), "non_block_costs": rest}
    times = {pair: {2: (1.0, 1.0 + place)} for place, pair in enumerate(reversed(PAIRS))}
    scores = {"block_scores": score_table(SCORES), "run_scores": RUNS}

    def parent(workdir: Path, *_: Any) -> Output:
        save(tiny.parent(dtype=torch.float32), workdir / "parent", tiny.TOKENIZER)
        return Output(files={"": workdir / "parent"})

    made = {"parent": parent} | {
        name: lambda *_, tables=tables: Output(tables=tables)
        for name, tables in (
            ("block_scores", scores),
            ("block_costs", costs),
            ("cost_profile", profile(3, times, decode=10)),
        )
    }
    return {
        name: store.build(Request(f"m/{name}", None, fn, {}, {}, 0, code_version="1"))
        for name, fn in made.items()
    }


def test_all_that_the_recipe_asks_for_is_written_down(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    section = recipe(
        {"throughput": 1.05, "parameters": 0.9},
        target={"engine": "vllm", "tensor_parallel": 2, "dtype": "float8", "hardware": "abacus"},
        solutions=3,
        min_distance=2,
        batches=[2],
        pareto={"column": "throughput", "points": 3},
    )
    # 24 and 12 channels, 2 x 4 and 4 key numbers: float8 on two ranks runs none of them
    with pytest.raises(ValueError, match="layer 0 has no candidate that vllm can run"):
        choose_architecture(
            tmp_path, inputs, section | {"asset_key": "m/architecture", "model": "m"}, Execution()
        )
    section["target"]["dtype"], section["target"]["tensor_parallel"] = "bfloat16", 1
    made = choose_architecture(
        tmp_path, inputs, section | {"asset_key": "m/architecture", "model": "m"}, Execution()
    )
    assert set(made.tables) == {
        "architectures",
        "removed_variants",
        "batch_sweep",
        "alternatives",
        "pareto",
    }
    removed = made.tables["removed_variants"].to_pylist()
    assert [(row["layer"], row["attention"], row["ffn"]) for row in removed] == [
        (0, "noop", "full"),
        (0, "noop", "ratio_50"),
    ]
    reason = "vllm fails on a first layer with an FFN but no attention"
    assert made.observations["removed"] == {reason: 2}
    assert made.metrics["removed"] == 2
    assert made.metrics["batch"] == 2
    # the parent takes 3 x (1 + 10 x 4) s for 2 x 10 tokens
    assert made.metrics["throughput"] >= 1.05 * 20 / 123
    assert set(made.images) == {"architecture", "pareto"}
    front = made.tables["pareto"].to_pylist()
    assert [row["column"] for row in front] == ["throughput"] * 3
    # the fastest first, then slower and better
    assert front[0]["value"] > front[-1]["value"]
    assert front[0]["objective"] > front[-1]["objective"]
    ranked = made.tables["alternatives"].to_pylist()
    choices: dict[int, list[Any]] = {rank: [] for rank in (1, 2, 3)}
    for row in ranked:
        choices[row["rank"]].append((row["attention"], row["ffn"], row["fused_into"]))
    chosen = made.tables["architectures"].to_pylist()
    assert choices[1] == [(row["attention"], row["ffn"], row["fused_into"]) for row in chosen]
    for one, other in itertools.combinations(choices.values(), 2):
        assert sum(a != b for a, b in zip(one, other, strict=True)) >= 2
    plain = choose_architecture(
        tmp_path,
        inputs,
        recipe({"parameters": 0.9}) | {"asset_key": "m/architecture", "model": "m"},
        Execution(),
    )
    assert set(plain.tables) == {"architectures"}
    assert plain.metrics["parameters_share"] <= 0.9
