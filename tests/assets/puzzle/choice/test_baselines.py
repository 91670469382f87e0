"""The other ways to choose, by hand-computed choices and against rules they must keep."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from assets.puzzle.choice import baselines
from assets.puzzle.choice.baselines import Rows
from assets.puzzle.program.rules import read_program
from assets.puzzle.program.solver import violations
from assets.puzzle.search import search
from tests.assets.puzzle.oracle import TINY as ORACLE

TINY = ORACLE.rename_columns(
    ["parameters" if name == "params" else name for name in ORACLE.column_names]
)
METHODS = (
    baselines.marginal_greedy,
    baselines.paper_greedy,
    baselines.max_parameters,
    baselines.best_uniform,
)


def table(layers: list[list[tuple[str, float, int]]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"layer": layer, "variant": name, "kl": kl, "mem": mem, "parameters": mem}
            for layer, variants in enumerate(layers)
            for name, kl, mem in variants
        ]
    )


# The trap of the oracles: two layers, the cheap exchange by ratio is the wrong one.
TRAP = table(
    [
        [("full", 0.0, 6), ("cut", 1.0, 5), ("noop", 4.0, 0)],
        [("full", 0.0, 6), ("cut", 2.0, 5), ("noop", 4.5, 0)],
    ]
)


def names(candidates: pa.Table, rows: Rows | None) -> list[str] | None:
    variants = candidates["variant"].to_pylist()
    return None if rows is None else [variants[row] for row in rows]


def total(candidates: pa.Table, rows: Rows | None) -> float:
    values = candidates["kl"].to_pylist()
    assert rows is not None
    return float(sum(values[row] for row in rows))


@pytest.mark.parametrize(
    ("budget", "greedy", "paper", "optimum"), [(11, 1, 1, 1), (10, 4, 3, 3), (6, 4, 4, 4)]
)
def test_greedy_trap(budget: int, greedy: float, paper: float, optimum: float) -> None:
    """Removing layer 0 saves 6 for 4 (0.67 each), cutting it 1 for 1: the greedy removes it. At 11
    it can take the removal back to a cut, at 10 it cannot. The paper's greedy gives each layer 5.5,
    5 and 3, and the second what the first leaves."""
    limits = {"mem": budget}
    assert total(TRAP, baselines.marginal_greedy(TRAP, limits)) == greedy
    assert total(TRAP, baselines.paper_greedy(TRAP, limits)) == paper
    assert search(TRAP, limits).objective == optimum


def test_the_papers_greedy_begins_with_the_easiest_layer_and_rolls_over() -> None:
    candidates = table(
        [
            [("full", 0.0, 10), ("cut", 9.0, 6), ("noop", 30.0, 0)],  # mean 13
            [("full", 0.0, 10), ("cut", 1.0, 6), ("noop", 2.0, 0)],  # mean 1: first
        ]
    )
    # layer 1 has 7 of 14 and takes the cut for 6; the 8 left buy layer 0 a cut, not the whole
    assert names(candidates, baselines.paper_greedy(candidates, {"mem": 14})) == ["cut", "cut"]
    assert search(candidates, {"mem": 14}).choice == ["full", "noop"]


def test_costs_besides_the_blocks_are_no_layers_share() -> None:
    # 100 of layer 0 are the embedding's: 5 are left for each layer, and each takes the cut
    candidates = table(
        [
            [("full", 0.0, 106), ("cut", 1.0, 105), ("noop", 4.0, 100)],
            [("full", 0.0, 6), ("cut", 2.0, 5), ("noop", 4.5, 0)],
        ]
    )
    assert names(candidates, baselines.paper_greedy(candidates, {"mem": 110})) == ["cut", "cut"]


def test_most_parameters_and_best_uniform() -> None:
    limits = {"mem": 28}
    program, bounds = read_program(TINY, limits, "kl")
    rows = baselines.max_parameters(TINY, limits)
    assert rows is not None and not violations(program, rows, bounds)
    # mem 28 of full (10 for 100), half (7, 60), slim (5, 40): full full half nothing = 27, 260;
    # full full slim nothing = 25; nothing beats two full ones and a half one
    assert program.candidates.total("parameters", rows) == 260
    assert names(TINY, baselines.best_uniform(TINY, limits)) == ["half"] * 4
    # where a layer must not take the variant it takes its best row: 0 there, 0 + 2 + 1 + 4 = 7
    forbidden = [(0, "half"), (0, "slim"), (0, "noop")]
    assert names(TINY, baselines.best_uniform(TINY, {"mem": 31}, forbidden=forbidden)) == [
        "full",
        "half",
        "half",
        "half",
    ]


def test_uniform_and_random_choices_use_what_the_limits_leave() -> None:
    """Of four layers at 8, 6, 4 and 0 with 26 in all, one at 8 and three at 6; of 22 three at 6 and
    one at 4: never all at the smaller, whose size is another model's. No step is below 2."""
    sizes = [("full/full", 0.0, 8), ("full/half", 1.0, 6), ("full/slim", 3.0, 4)]
    candidates = table([[*sizes, ("full/noop", 4.0, 0)]] * 4)
    for budget, most in ((26, "full/full"), (22, "full/half")):
        chosen = names(candidates, baselines.best_uniform(candidates, {"mem": budget}))
        assert chosen is not None and chosen.count(most) == (1 if budget == 26 else 3)
        assert "full/noop" not in chosen
        memory = candidates["mem"].to_pylist()
        for rows in baselines.random_choices(candidates, {"mem": budget}, count=8, seed=1):
            assert budget - 2 <= sum(memory[row] for row in rows) <= budget


@pytest.mark.parametrize(
    "rules",
    [
        {"forbidden": [(0, "noop"), (3, "noop")]},
        {"fixed": {1: "slim"}, "max_noops": 1},
        {"groups": [[0, 1], [2, 3]], "max_distinct": 3},
    ],
)
def test_limits_and_rules_are_kept_or_nothing_is_given(rules: dict[str, Any]) -> None:
    limits = {"mem": (10, 24), "rt": 20}
    program, bounds = read_program(TINY, limits, "kl", **rules)
    for method in METHODS:
        rows = method(TINY, limits, **rules)
        assert rows is None or not violations(program, rows, bounds)
    drawn = baselines.random_choices(TINY, limits, count=4, seed=0, **rules)
    assert len(drawn) == 4
    assert len(set(drawn)) > 1
    assert not any(violations(program, rows, bounds) for rows in drawn)
    assert drawn == baselines.random_choices(TINY, limits, count=4, seed=0, **rules)
    for method in METHODS:
        assert method(TINY, {"mem": -1}, **rules) is None
    assert baselines.random_choices(TINY, {"mem": -1}, count=2, seed=0, **rules) == []


def test_runs_are_left_to_the_search() -> None:
    rows = [{**row, "layer": [row["layer"]]} for row in TRAP.to_pylist()]
    run = {"layer": [0, 1], "variant": "fused/full", "kl": 0.0, "mem": 0, "parameters": 0}
    candidates = pa.Table.from_pylist([*rows, run])
    assert search(candidates, {"mem": 6}).choice == ["fused/full"]
    for method in METHODS:
        assert "fused/full" not in (names(candidates, method(candidates, {"mem": 6})) or [])
