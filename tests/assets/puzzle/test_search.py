"""The architecture search against brute force: a fixed set of small cases, and random instances."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.puzzle.choice import baselines
from assets.puzzle.choice.pareto import pareto
from assets.puzzle.program import solver as milp
from assets.puzzle.program.rules import read_program
from assets.puzzle.search import Architecture, InfeasibleError, search, search_many

ORACLE = json.loads((Path(__file__).parent / "mip_tiny.json").read_text())
COLUMNS = ("kl", "mem", "rt", "params")


def library() -> list[dict[str, Any]]:
    return [
        {"layer": int(layer[1:]), "variant": variant, **dict(zip(COLUMNS, values, strict=True))}
        for layer, variants in ORACLE["library"].items()
        for variant, values in variants.items()
    ]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


TINY = table(library())
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


Instance = tuple[list[list[tuple[int, int, int]]], int, int]
instances = st.integers(1, 6).flatmap(
    lambda layers: st.tuples(
        st.lists(
            st.lists(
                st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(0, 20)),
                min_size=1,
                max_size=4,
            ),
            min_size=layers,
            max_size=layers,
        ),
        st.integers(0, 20 * layers),
        st.integers(0, 20 * layers),
    )
)


def rows_of(layers: list[list[tuple[int, int, int]]]) -> list[dict[str, Any]]:
    return [
        {"layer": layer, "variant": f"v{index}", "kl": kl, "mem": mem, "rt": rt}
        for layer, variants in enumerate(layers)
        for index, (kl, mem, rt) in enumerate(variants)
    ]


def brute_force(instance: Instance) -> int | None:
    layers, mem, rt = instance
    sums = (
        [sum(part) for part in zip(*choice, strict=True)] for choice in itertools.product(*layers)
    )
    return min((total[0] for total in sums if total[1] <= mem and total[2] <= rt), default=None)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(instances)
def test_equal_to_brute_force(instance: Instance) -> None:
    layers, mem, rt = instance
    candidates = table(rows_of(layers))
    best = brute_force(instance)
    if best is None:
        with pytest.raises(InfeasibleError) as caught:
            search(candidates, {"mem": mem, "rt": rt})
        # relaxing either limit alone to its reachable value is enough, if the other can hold
        for name, other in (("mem", ("rt", rt)), ("rt", ("mem", mem))):
            if sum(min(v[1 if other[0] == "mem" else 2] for v in vs) for vs in layers) <= other[1]:
                search(candidates, {name: caught.value.tightest[name], other[0]: other[1]})
        return
    found = search(candidates, {"mem": mem, "rt": rt})
    assert found.objective == best
    assert found.totals["mem"] <= mem
    assert found.totals["rt"] <= rt


@settings(max_examples=20, deadline=None, derandomize=True)
@given(instances, st.integers(0, 30), st.integers(1, 1000))
def test_monotone_in_budgets_and_candidates(instance: Instance, more: int, factor: int) -> None:
    layers, mem, rt = instance
    candidates = table(rows_of(layers))
    if brute_force(instance) is None:
        return
    found = search(candidates, {"mem": mem, "rt": rt})
    assert search(candidates, {"mem": mem + more, "rt": rt}).objective <= found.objective
    richer = table(rows_of([[*layers[0], (3, 3, 3)], *layers[1:]]))
    assert search(richer, {"mem": mem, "rt": rt}).objective <= found.objective
    scaled = table([{**row, "kl": row["kl"] * factor} for row in rows_of(layers)])
    assert search(scaled, {"mem": mem, "rt": rt}).objective == found.objective * factor
    values = [a.objective for a in search_many(candidates, {"mem": mem, "rt": rt}, k=4)]
    assert values == sorted(values)


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


Ruled = tuple[list[dict[str, Any]], int, dict[str, Any]]
NAMES = ("v0", "v1", "noop/v0", "noop/noop")


@st.composite
def ruled(draw: st.DrawFn) -> Ruled:
    """Up to 4 layers of 4 variants, rows that cover two layers, a budget, and a rule of each kind
    or none."""
    layers = draw(st.integers(2, 4))
    amounts = st.integers(0, 12)
    rows = [
        {"layer": [layer], "variant": name, "kl": draw(amounts), "mem": draw(amounts)}
        for layer in range(layers)
        for name in NAMES
    ]
    for first in draw(st.sets(st.integers(0, layers - 2))):
        cover = [first, first + 1]
        row = {"layer": cover, "variant": "fused/v0", "kl": draw(amounts), "mem": draw(amounts)}
        rows.append(row)
    layer, name = st.integers(0, layers - 1), st.sampled_from(NAMES)
    rules = {
        "groups": draw(st.none() | layer.map(lambda first: [list(range(first, layers))])),
        "max_distinct": draw(st.none() | st.integers(1, 4)),
        "max_noops": draw(st.none() | st.integers(0, 5)),
        "fixed": draw(st.none() | st.dictionaries(layer, name, max_size=1)),
        "forbidden": draw(st.none() | st.lists(st.tuples(layer, name), max_size=3)),
    }
    return rows, draw(st.integers(0, 30)), rules


def allowed(rows: list[dict[str, Any]], rules: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Every choice of rows that covers each layer once and keeps the rules."""
    count = 1 + max(layer for row in rows for layer in row["layer"])

    def covers(layer: int) -> list[list[dict[str, Any]]]:
        if layer == count:
            return [[]]
        starting = [row for row in rows if row["layer"][0] == layer]
        return [[row, *rest] for row in starting for rest in covers(row["layer"][-1] + 1)]

    def keeps(choice: list[dict[str, Any]]) -> bool:
        at = {layer: row["variant"] for row in choice for layer in row["layer"]}
        parts = [part for name in at.values() for part in name.split("/")]
        return (
            all(len({at[layer] for layer in group}) == 1 for group in rules["groups"] or [])
            and (rules["max_distinct"] or 99) >= len(set(at.values()))
            and (99 if rules["max_noops"] is None else rules["max_noops"])
            >= parts.count("noop") + parts.count("fused")
            and all(at[layer] == name for layer, name in (rules["fixed"] or {}).items())
            and not any(at[layer] == name for layer, name in rules["forbidden"] or [])
        )

    return [choice for choice in covers(0) if keeps(choice)]


def distance(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> int:
    """Layers that two choices do not have in common, row by row."""
    return sum(len(row["layer"]) for row in one if row not in other)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ruled(), st.integers(1, 2))
def test_every_rule_is_equal_to_brute_force(case: Ruled, apart: int) -> None:
    rows, mem, rules = case
    within = [choice for choice in allowed(rows, rules) if sum(row["mem"] for row in choice) <= mem]
    if not within:
        with pytest.raises(InfeasibleError):
            search(table(rows), {"mem": mem}, **rules)
        return
    found = search_many(table(rows), {"mem": mem}, k=3, min_distance=apart, **rules)
    earlier: list[list[dict[str, Any]]] = []
    for each in found:
        left = [c for c in within if all(distance(c, other) >= apart for other in earlier)]
        assert each.objective == min(sum(row["kl"] for row in choice) for choice in left)
        at = {(tuple(row["layer"]), row["variant"]): row for row in rows}
        earlier.append([at[piece] for piece in zip(each.layers, each.choice, strict=True)])
        assert earlier[-1] in left
    if len(found) < 3:
        assert not [c for c in within if all(distance(c, other) >= apart for other in earlier)]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(instances)
def test_relaxation_search_and_heuristics_are_in_order(instance: Instance) -> None:
    layers, mem, rt = instance
    candidates, limits = table(rows_of(layers)), {"mem": mem, "rt": rt}
    if brute_force(instance) is None:
        return
    optimum = search(candidates, limits).objective
    program, bounds = read_program(candidates, limits, "kl")
    scores = program.candidates.columns["kl"]
    problem, variables = milp._build(program, scores, bounds, [])
    for variable in variables.values():
        variable.cat = "Continuous"
    milp._run_highs(problem, variables, None, 0.0)
    assert float(problem.objective.value() or 0) <= optimum + 1e-6
    for heuristic in (baselines.marginal_greedy, baselines.paper_greedy, baselines.best_uniform):
        rows = heuristic(candidates, limits)
        assert rows is None or (
            scores[list(rows)].sum() >= optimum and not milp.violations(program, rows, bounds)
        )
    for rows in baselines.random_choices(candidates, limits, count=2, seed=0):
        assert scores[list(rows)].sum() >= optimum
        assert not milp.violations(program, rows, bounds)


def test_the_front_is_the_search_at_every_bound() -> None:
    front = pareto(TINY, "mem", 9, "kl", {"mem": 3, "rt": 30}).to_pylist()
    # nothing costs less than four no-ops; without a bound on mem, rt 30 costs the cheapest cut
    assert (front[0]["bound"], front[0]["objective"]) == (0, 135)
    assert front[-1]["objective"] == search(TINY, {"rt": 30}).objective == 1
    for point in front:
        found = search(TINY, {"mem": point["bound"], "rt": 30})
        assert point["objective"] == found.objective
        assert point["value"] <= point["bound"]
        assert point["proven"]
    objectives = [point["objective"] for point in front]
    assert objectives == sorted(objectives, reverse=True)
    with pytest.raises(InfeasibleError):
        pareto(TINY, "mem", 3, "kl", {"rt": -1})
