"""The front of a cost and the objective."""

from __future__ import annotations

import pytest

from assets.puzzle.choice.pareto import pareto
from assets.puzzle.search import InfeasibleError, search
from tests.assets.puzzle.oracle import TINY


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
