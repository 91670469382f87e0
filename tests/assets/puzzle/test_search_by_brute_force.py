"""The architecture search against brute force on random instances, with every rule."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.puzzle.choice import baselines
from assets.puzzle.program import solver as milp
from assets.puzzle.program.rules import read_program
from assets.puzzle.search import InfeasibleError, search, search_many
from tests.assets.puzzle.oracle import table

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
