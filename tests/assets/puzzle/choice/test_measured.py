"""Hand cuts within limits, block influence, and the choice by true KL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assets.puzzle.choice.assemblies import Assembly, assembly_kl
from assets.puzzle.choice.cuts import by_influence, in_one_piece, least, parent_rows
from assets.puzzle.choice.influence import influence
from assets.puzzle.choice.measured import choose, measured_table
from assets.puzzle.choice.rounds import Measure, kl_by_part, mean_of
from assets.puzzle.halves import Library
from assets.puzzle.program.solver import violations
from tests.assets.puzzle import tiny
from tests.assets.puzzle.choice.known import neighbourly, problem


def dropped(rows: tuple[int, ...]) -> list[int]:
    return [layer for layer, row in enumerate(rows) if row % 3 == 2]


def test_the_least_influential_layers_go_first() -> None:
    _, program, bounds = problem(np.zeros((5, 3)), 6)
    assert parent_rows(program) == (0, 3, 6, 9, 12)
    found = by_influence(program, bounds, np.array([0.1, 0.5, 0.2, 0.9, 0.3]))
    assert found is not None and dropped(found) == [0, 2]
    program.excluded.add(2)  # layer 0 must keep its attention
    found = by_influence(program, bounds, np.array([0.1, 0.5, 0.2, 0.9, 0.3]))
    assert found is not None and dropped(found) == [2, 4]
    assert by_influence(*problem(np.zeros((2, 3)), -1)[1:], np.zeros(2)) is None


def test_runs_are_as_short_as_the_limits_allow() -> None:
    _, program, bounds = problem(np.zeros((5, 3)), 6)
    program.excluded.add(2)
    found = in_one_piece(program, bounds)
    assert [dropped(rows) for rows in found] == [[1, 2], [2, 3], [3, 4]]
    assert not any(violations(program, rows, bounds) for rows in found)
    assert in_one_piece(*problem(np.zeros((2, 3)), 4)[1:]) == [(0, 3)]
    assert in_one_piece(*problem(np.zeros((2, 3)), -1)[1:]) == []


def piece(layers: int, gone: range) -> Assembly:
    return [((at,), "noop/noop" if at in gone else "full/full") for at in range(layers)]


@given(st.data())
def test_the_least_is_that_of_measuring_all_of_it_on_everything(data: st.DataObject) -> None:
    count, sizes = data.draw(st.integers(1, 6)), data.draw(st.lists(st.integers(1, 3), min_size=1))
    one = st.lists(st.integers(0, 5), min_size=sum(sizes), max_size=sum(sizes))
    kl = np.array(data.draw(st.lists(one, min_size=count, max_size=count)), float)
    asked: list[int] = []

    def part(values: np.ndarray) -> Measure:
        def measure(assemblies: list[Assembly], name: str) -> np.ndarray:
            places = [len(each) for each in assemblies]
            asked.extend(places)
            return values[places]

        return measure

    parts = [part(values) for values in np.split(kl, np.cumsum(sizes)[:-1], axis=1)]
    found = least([piece(n, range(0)) for n in range(count)], parts)
    assert found == int(np.argmin(kl.mean(axis=1)))
    # No further once it has come to more than the first part's least does on everything.
    most = kl[np.argmin(kl[:, : sizes[0]].sum(axis=1))].sum()
    for place in range(count):
        sums = [kl[place][: sum(sizes[:number])].sum() for number in range(1, len(sizes))]
        assert asked.count(place) == 1 + sum(each <= most for each in sums)


def test_a_run_of_layers_is_found_by_the_layers_behind_it_alone(tmp_path: Path) -> None:
    parent, data = tiny.parent(layers=6), tiny.data(256)
    library = Library(parent)
    runs = [piece(6, range(start, start + 2)) for start in range(1, 5)]
    ran: list[int] = []
    for at, layer in enumerate(parent.layers):
        for part in (layer.self_attn, layer.mlp):
            part.register_forward_hook(lambda *_, at=at: ran.append(at))
    whole = assembly_kl(library, runs, data, batch=len(data))
    # The parent once, and of each run what stands behind it; halves.
    assert len(ran) == 2 * (6 + 3 + 2 + 1 + 0)
    parts = kl_by_part(library, data, tmp_path, batch=2)
    apart = np.concatenate([part(runs, "all") for part in parts], axis=1)
    assert np.allclose(apart, whole, atol=1e-12)
    assert least(runs, parts) == int(np.argmin(whole.mean(axis=1)))


def test_influence_is_one_minus_cosine() -> None:
    parent, data = tiny.parent(), tiny.data()
    found = influence(parent, data, batch=2)
    with torch.inference_mode():
        hidden, context = data.context(parent)
        for index in range(3):
            after = parent.layer(index)(hidden, context)
            a, b = hidden.double().flatten(0, 1), after.double().flatten(0, 1)
            cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
            assert found[index] == pytest.approx(float((1 - cosine).mean()), abs=1e-6)
            hidden = after


def test_truth_decides_and_sums_are_told() -> None:
    draw = np.random.default_rng(5)
    scores = np.sort(draw.uniform(0, 1, (5, 3)), axis=1)
    scores[:, 0] = 0
    _table, program, bounds = problem(scores, 6)
    program.candidates.columns["parameters"] = program.candidates.columns["cost"]
    truth = neighbourly(draw, 5, scores)
    names: list[str] = []

    def exact(assemblies: list[Assembly], name: str) -> np.ndarray:
        names.append(name)
        return np.array([[truth(each), truth(each) + 0.5] for each in assemblies])

    objective = program.candidates.columns["kl"]
    pieces = {f"piece {n}": rows for n, rows in enumerate(in_one_piece(program, bounds))}
    proposed = {**pieces, "the same": pieces["piece 0"]}
    tried = choose(
        program, objective, bounds, proposed, mean_of(exact), exact, rounds=4, improved=2
    )
    means = [each.mean for each in tried]
    assert means == sorted(means)
    assert len({each.rows for each in tried}) == len(tried)
    assert "the same" not in {each.method for each in tried}
    assert tried[0].mean <= min(e.mean for e in tried if not e.method.endswith("improved"))
    assert all(not violations(program, each.rows, bounds) for each in tried)
    rows = measured_table(
        "m", program, tried, lambda kl: (kl.min(axis=1), kl.max(axis=1))
    ).to_pylist()
    assert [row["chosen"] for row in rows] == [True] + [False] * (len(rows) - 1)
    assert rows[0]["ci_high"] - rows[0]["ci_low"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no candidate keeps the limits"):
        choose(program, objective, bounds, {}, mean_of(exact), exact, rounds=0, improved=1)
