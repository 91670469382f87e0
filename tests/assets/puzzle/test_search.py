"""The architecture search on small cases whose optima are known, and what it refuses."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pyarrow as pa
import pytest

from assets.puzzle.search import Architecture, InfeasibleError, search, search_many
from tests.assets.puzzle.oracle import COLUMNS, ORACLE, TINY, library, table

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mem<=40": ({"mem": 40}, {}),
    "mem<=30": ({"mem": 30}, {}),
    "mem<=24": ({"mem": 24}, {}),
    "mem<=30 and rt<=21": ({"mem": 30, "rt": 21}, {}),
    "params<=200 (tie)": ({"params": 200}, {}),
    "20<=mem<=22 (tie)": ({"mem": (20, 22)}, {}),
    "homogeneous, mem<=28": ({"mem": 28}, {"groups": [[0, 1, 2, 3]]}),
    "heterogeneous, mem<=28": ({"mem": 28}, {}),
    "groups {L0,L1},{L2,L3} uniform, mem<=24": ({"mem": 24}, {"groups": [[0, 1], [2, 3]]}),
    "no no-op, mem<=24": ({"mem": 24}, {"max_noops": 0}),
    "at most 2 distinct variants, mem<=24": ({"mem": 24}, {"max_distinct": 2}),
}


def matches(found: Architecture, expected: dict[str, Any]) -> None:
    assert found.objective == expected["objective"]
    optima = [(optimum["choice"], optimum["totals"]) for optimum in expected["optima"]]
    assert (found.choice, [found.totals[column] for column in COLUMNS]) in optima
    assert found.proven
    assert found.gap == 0


@pytest.fixture(params=["HiGHS", "CBC"])
def solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both solvers in turn: HiGHS, and what stands in where it is not installed."""
    if request.param == "CBC":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    return str(request.param)


@pytest.mark.parametrize("name", CASES)
def test_tiny_cases(name: str, solver: str) -> None:
    limits, rules = CASES[name]
    found = search(TINY, limits, **rules)
    matches(found, ORACLE["cases"][name])
    assert found.solver == solver


def test_forbidden_everywhere_is_the_same_as_no_noops() -> None:
    expected = ORACLE["cases"]["no no-op, mem<=24"]
    pairs = [(layer, "noop") for layer in range(4)]
    for forbidden in (["noop"], pairs, {layer: "noop" for layer in range(4)}):
        matches(search(TINY, {"mem": 24}, forbidden=forbidden), expected)


def test_fixed_layers_are_kept() -> None:
    found = search(TINY, {"mem": 30}, fixed={3: "slim", 0: "half"})
    assert (found.choice[0], found.choice[3]) == ("half", "slim")


def test_infeasible_says_what_is_reachable() -> None:
    with pytest.raises(InfeasibleError, match="mem") as caught:
        search(TINY, {"mem": -1})
    assert caught.value.tightest == {"mem": 0}
    with pytest.raises(InfeasibleError) as caught:
        search(TINY, {"mem": 20, "params": (300, None)})
    # 300 parameters need 30 of memory; 20 of memory carry at most 200 parameters
    assert caught.value.tightest == {"mem": 30, "params": 200}
    with pytest.raises(InfeasibleError) as caught:
        search(TINY, {"mem": -1, "rt": -5})
    assert caught.value.tightest == {"mem": 0, "rt": 0}
    with pytest.raises(InfeasibleError, match="rules") as caught:
        search(TINY, {"mem": 40}, fixed={0: "noop"}, max_noops=0)
    assert caught.value.tightest == {}


def test_diverse_solutions() -> None:
    found = search_many(TINY, {"mem": 30}, k=3, min_distance=2)
    expected = ORACLE["cases"]["mem<=30, 3 solutions, hamming>=2"]
    # Ties let another second solution of the same value lead to a different third one.
    assert [a.objective for a in found] == [case["objective"] for case in expected]
    for one, other in itertools.combinations(found, 2):
        assert sum(a != b for a, b in zip(one.choice, other.choice, strict=True)) >= 2
    assert len(search_many(TINY, {"mem": 0}, k=5)) == 1


def test_a_replacement_of_two_layers_competes_with_its_layers() -> None:
    rows = [{**row, "layer": [row["layer"]]} for row in library()]
    fused = dict(zip(COLUMNS, (2, 12, 7, 150), strict=True))
    found = search(table([*rows, {"layer": [2, 3], "variant": "FUSED", **fused}]), {"mem": 30})
    assert found.choice == ["full", "half", "FUSED"]
    assert found.layers == [(0,), (1,), (2, 3)]
    assert [found.totals[column] for column in COLUMNS] == [4, 29, 20, 310]


@pytest.mark.parametrize("rate", [0, 150, 250])
@pytest.mark.parametrize("batch", [1, 2, 4, 8, 16, 32])
def test_batch_sweep(batch: int, rate: int) -> None:
    variants = {
        "full": (0.0, 4 + batch * 1.0, 10 + 2.0 * batch),
        "nokv": (3.0, 3.0, 8 + 0.5 * batch),
        "noop": (20.0, 0.0, 0.0),
    }
    rows = [
        {"layer": layer, "variant": name, "kl": kl, "gib": gib, "ms": ms}
        for layer in range(3)
        for name, (kl, gib, ms) in variants.items()
    ]
    limits = {"gib": 24.0} | ({"ms": 1000 * batch / rate} if rate else {})
    name = f">={rate} seq/s" if rate else "no throughput target"
    prefix = "batch sweep: " + ("mem<=24 GiB, " if rate else "3 equal layers, mem<=24 GiB, ")
    objective, gib, choice = ORACLE["cases"][prefix + name][str(batch)]
    found = search(table(rows), limits)
    assert (found.objective, found.totals["gib"], sorted(found.choice)) == (
        objective,
        gib,
        sorted(choice),
    )


def test_greedy_trap() -> None:
    costs = {0: [("full", 0, 6), ("cut", 1, 5), ("noop", 4, 0)]}
    costs[1] = [("full", 0, 6), ("cut", 2, 5), ("noop", 4.5, 0)]
    rows = [
        {"layer": layer, "variant": name, "kl": float(kl), "mem": mem}
        for layer, variants in costs.items()
        for name, kl, mem in variants
    ]
    values = [search(table(rows), {"mem": budget}).objective for budget in (11, 10, 6)]
    assert values == [1, 3, 4]


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_missing_scores_are_refused_by_name(value: float | None) -> None:
    rows = [{**row, "kl": float(row["kl"])} for row in library()]
    rows[6]["kl"] = value
    with pytest.raises(ValueError, match="layer 1, variant 'slim'"):
        search(table(rows), {"mem": 30})


def test_unusable_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layers \[2\] have no candidate"):
        search(table([row for row in library() if row["layer"] != 2]), {"mem": 30})
    with pytest.raises(ValueError, match="twice"):
        search(table([*library(), library()[0]]), {"mem": 30})
    with pytest.raises(ValueError, match="latency"):
        search(TINY, {"latency": 3})
    with pytest.raises(ValueError, match="NaN"):
        search(TINY, {"mem": math.nan})
    with pytest.raises(ValueError, match="no column"):
        search(TINY.drop_columns(["variant"]), {"mem": 3})
    with pytest.raises(ValueError, match="third"):
        search(TINY, {"mem": 30}, forbidden=["third"])


def test_large_counts_are_kept_exactly() -> None:
    """A solver tolerance of 1e-9 is hundreds of parameters at 1e11: the check must catch it."""
    big = 10**11
    rows = [
        {"layer": layer, "variant": name, "kl": kl, "parameters": parameters}
        for layer in range(2)
        for name, kl, parameters in (("a", 0.0, big + 1), ("b", 1.0, big), ("c", 5.0, 1))
    ]
    found = search(table(rows), {"parameters": 2 * big})
    assert (sorted(found.choice), found.totals["parameters"]) == (["b", "b"], 2 * big)


@pytest.mark.parametrize(
    ("limit", "full"),
    [
        (0.7 * 23_040, 0.0),
        (16_128, 0.0),
        ((16_128.000000000002, None), 1.0),
    ],
)
def test_a_whole_number_keeps_a_bound_that_rounding_moved(limit: Any, full: float) -> None:
    """30 layers of 768: nine without are 16,128, which 0.7 * 23,040 misses by 2e-12. Where whole
    layers score `full` 0 the upper bound holds them back, where 1 the lower one asks for them."""
    rows = [
        {"layer": layer, "variant": name, "kl": kl, "bytes": size}
        for layer in range(30)
        for name, kl, size in (("full", full, 768), ("noop", 1.0 - full, 0))
    ]
    assert search(table(rows), {"bytes": limit}).totals["bytes"] == 16_128
    with pytest.raises(InfeasibleError):
        search(table(rows), {"bytes": (16_129, 16_895)})


def test_a_time_limited_answer_is_labelled() -> None:
    """126 layers x 54 variants with a limit too short to prove: an incumbent or a time-out."""
    import numpy as np

    draw = np.random.default_rng(0)
    size = draw.uniform(0, 1, (126, 54))
    columns = {
        "layer": np.repeat(np.arange(126), 54),
        "variant": [f"v{index}" for _ in range(126) for index in range(54)],
        "kl": (draw.exponential(1, size.shape) * (1 - size)).ravel(),
    }
    limits = {}
    for name in ("mem", "rt", "params"):
        columns[name] = (size * draw.uniform(0.5, 1.5, size.shape)).ravel()
        limits[name] = 0.4 * float(columns[name].mean()) * 126
    candidates = pa.table(columns)
    proven = search(candidates, limits)
    assert proven.proven
    try:
        found = search(candidates, limits, time_limit=0.05)
    except TimeoutError:
        return
    assert found.proven or found.gap > 0
    assert found.objective >= proven.objective - 1e-9


def test_both_solvers_know_what_is_infeasible(solver: str) -> None:
    with pytest.raises(InfeasibleError) as caught:
        search(TINY, {"mem": -1})
    assert caught.value.tightest == {"mem": 0}
