"""Re-scoring rounds against functions whose best choice is known, and on a tiny model."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from assets.puzzle.choice.assemblies import Assembly
from assets.puzzle.choice.rounds import Round, descend, improve, kl_with, mean_of, rounds_table
from assets.puzzle.halves import Library
from assets.puzzle.program.solver import Program, violations
from assets.puzzle.search import search
from tests.assets.puzzle import tiny
from tests.assets.puzzle.choice.known import Limits, neighbourly, problem


def rounds(
    table: pa.Table,
    program: Program,
    bounds: Limits,
    truth: Callable[[Assembly], float],
    count: int,
) -> list[Round]:
    """Rounds from the search's answer with a known true KL."""
    found = search(table, bounds)
    pieces = list(zip(found.layers, found.choice, strict=True))
    read = program.candidates
    places = dict(zip(zip(read.covers, read.variants, strict=True), range(99), strict=False))
    return improve(
        program,
        read.columns["kl"],
        bounds,
        tuple(places[piece] for piece in pieces),
        lambda assemblies, _: np.array([truth(each) for each in assemblies]),
        count,
    )


def test_where_scores_add_up_nothing_changes() -> None:
    scores = np.array([[0, 1, 5], [0, 2, 6], [0, 3, 4], [0, 1, 2]], float)
    table, program, bounds = problem(scores, 4)
    values = dict(
        zip(
            zip(program.candidates.covers, program.candidates.variants, strict=True),
            table["kl"].to_pylist(),
            strict=True,
        )
    )
    found = rounds(table, program, bounds, lambda each: sum(values[piece] for piece in each), 3)
    assert [each.changed for each in found] == [0, 0]
    assert found[0].kl == found[1].kl == search(table, bounds).objective
    assert rounds_table("super", found).to_pylist()[1] == {
        "model": "super",
        "round": 1,
        "objective": found[0].objective,
        "kl": found[0].kl,
        "changed": 0,
    }


@pytest.mark.parametrize("seed", range(4))
def test_rounds_lower_the_true_kl_within_the_limits(seed: int) -> None:
    """Neighbouring changes hurt each other by random amounts, which single scores cannot see."""
    draw = np.random.default_rng(seed)
    layers = 5
    scores = np.sort(draw.uniform(0, 1, (layers, 3)), axis=1)
    scores[:, 0] = 0
    pairs = draw.uniform(0, 2, (layers, 3, 3))
    pairs[:, 0] = pairs[:, :, 0] = 0
    table, program, bounds = problem(scores, 5)
    places = {"full/full": 0, "full/cut": 1, "noop/noop": 2}

    def truth(assembly: Assembly) -> float:
        at = [places[variant] for _, variant in assembly]
        own = sum(scores[layer, place] for layer, place in enumerate(at))
        return float(own + sum(pairs[i, at[i], at[i + 1]] for i in range(layers - 1)))

    found = rounds(table, program, bounds, truth, 6)
    kls = [each.kl for each in found]
    assert kls == sorted(kls, reverse=True)
    assert found[-1].changed == 0 or len(found) == 7
    for each in found:
        assert not violations(program, each.rows, bounds)
        assert each.changed <= 2  # a quarter of 5 layers, rounded up
    every = [
        truth([((layer,), list(places)[place]) for layer, place in enumerate(choice)])
        for choice in itertools.product(range(3), repeat=layers)
        if sum(2 - place for place in choice) <= 5
    ]
    assert kls[-1] == pytest.approx(min(every))


@pytest.mark.parametrize("seed", range(3))
def test_steps_end_within_the_limits_and_know_the_first_changes(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = np.sort(draw.uniform(0, 1, (6, 3)), axis=1)
    scores[:, 0] = 0
    _, program, bounds = problem(scores, 6)
    truth = neighbourly(draw, 6, scores)
    asked: list[str] = []

    def measure(assemblies: list[Assembly], name: str) -> np.ndarray:
        asked.append(name)
        return np.array([truth(each) for each in assemblies])

    start, objective = tuple(range(0, 18, 3)), program.candidates.columns["kl"]
    found = descend(program, objective, bounds, start, measure, 3)
    costs = [program.candidates.total("cost", each.rows) for each in found]
    assert costs[0] == 12 and costs[-1] <= 6 and len(found) == 4
    assert all(cost <= 12 - 2 * step for step, cost in enumerate(costs))
    for each in found:
        pieces = [(program.candidates.covers[r], program.candidates.variants[r]) for r in each.rows]
        assert each.kl == pytest.approx(truth(pieces))
    # Around the parent a change costs its score: known scores spare the first measurement.
    again = list(asked)
    asked.clear()
    known = descend(program, objective, bounds, start, measure, 3, known=objective)
    assert [each.rows for each in known] == [each.rows for each in found]
    assert "step_1_changes" in again and "step_1_changes" not in asked


def test_what_a_cheaper_row_beats_is_not_measured_again() -> None:
    """In layer 0 the cut is worse than nothing at all, in layer 1 it is not."""
    scores = np.array([[0, 3, 1], [0, 1, 2], [0, 1, 2]], float)
    _, program, bounds = problem(scores, 3)
    measured: dict[str, set[Assembly]] = {}

    def measure(assemblies: list[Assembly], name: str) -> np.ndarray:
        measured[name] = {tuple(v for _, v in each) for each in assemblies}
        return np.zeros(len(assemblies))

    start, objective = (0, 3, 6), program.candidates.columns["kl"]
    descend(program, objective, bounds, start, measure, 2, known=objective)
    seen = {each[0] for each in measured["step_2_changes"]}
    assert seen == {"full/full", "noop/noop"}
    assert {each[1] for each in measured["step_2_changes"]} == {
        "full/full",
        "full/cut",
        "noop/noop",
    }
    improve(program, objective, bounds, start, measure, 1, known=objective)
    assert len(measured["round_1_changes"]) == 5
    improve(program, objective, bounds, start, measure, 1)
    assert len(measured["round_1_changes"]) == 6


def test_steps_that_no_choice_keeps_end_early() -> None:
    scores = np.zeros((2, 3))
    _, program, bounds = problem(scores, 1)
    program.excluded |= {1, 2}  # layer 0 stays full: 2 is the least
    found = descend(program, scores.ravel(), bounds, (0, 3), lambda each, _: np.zeros(len(each)), 3)
    assert len(found) == 3  # 3, 2 and then nothing


def test_runs_stay_runs() -> None:
    scores = np.array([[0, 1, 5], [0, 2, 6], [0, 3, 4], [0, 1, 2]], float)
    table, program, bounds = problem(scores, 3, (([1, 2], 1.0),))
    found = rounds(table, program, bounds, lambda each: float(len({v for _, v in each})), 2)
    covers = program.candidates.covers
    for each in found:
        assert [covers[row] for row in each.rows] == [(0,), (1, 2), (3,)]


def test_changes_around_the_parent_are_its_scores(tmp_path: Path) -> None:
    """The first round from the parent measures replace-1-block scores, and is not run twice."""
    library, data = Library(tiny.parent()), tiny.data()
    pairs = [("full", "full"), ("noop", "full"), ("full", "noop")]
    expected = tiny.replacement_kl(library, pairs, data).mean(axis=2)
    measure = mean_of(kl_with(library, data, tmp_path, batch=2))
    parent = [((layer,), "full/full") for layer in range(3)]
    changed = [
        [((at,), f"{a}/{f}" if at == layer else "full/full") for at in range(3)]
        for layer in range(3)
        for a, f in pairs
    ]
    assert measure([parent], "round_0") == pytest.approx(0, abs=1e-12)
    found = measure(changed, "round_1")
    assert found.reshape(3, 3) == pytest.approx(expected, abs=1e-9)
    broken = mean_of(kl_with(Library(tiny.parent(seed=1)), data, tmp_path, batch=2))
    assert np.array_equal(broken(changed, "round_1"), found)
