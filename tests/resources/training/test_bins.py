"""Bin packing: capacity, determinism, nothing lost, and how near it comes to the best there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.training.data.bins import best_fit, least_slack, pack


def test_known_case() -> None:
    """TRL `test_data_utils.py`: [[1,2,3],[4..7],[8]] at length 4 -> [[4,5,6,7],[1,2,3,8]]."""
    assert pack([3, 4, 1], 4) == [[1], [0, 2]]
    assert pack([], 4) == []


def test_tightest_fit() -> None:
    assert pack([6, 5, 4, 3], 10) == [[0, 2], [1, 3]]
    with pytest.raises(ValueError, match="example 1 has 11 tokens"):
        pack([3, 11], 10)
    with pytest.raises(ValueError, match="example 0 has 0 tokens"):
        pack([0], 10)


def test_looks_further_where_best_fit_wastes_room() -> None:
    """5 + 3 + 2 and 4 + 4 + 2 fill both packs; best fit pairs 5 with 4 and needs a third."""
    lengths = [5, 4, 4, 3, 2, 2]
    assert best_fit(lengths, 10) == [[0, 1], [2, 3, 4], [5]]
    assert pack(lengths, 10) == least_slack(lengths, 10) == [[0, 3, 4], [1, 2, 5]]


def test_keeps_the_fewer() -> None:
    """Taking the fullest pack first can leave what fits nowhere: best fit is kept then."""
    rng = np.random.default_rng(0)
    cases = [rng.integers(33, 150, 60).tolist() for _ in range(40)]
    both = [(len(best_fit(case, 256)), len(least_slack(case, 256))) for case in cases]
    assert any(best < slack for best, slack in both) and any(slack < best for best, slack in both)
    assert [len(pack(case, 256)) for case in cases] == [min(pair) for pair in both]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=40), st.integers(60, 200))
def test_every_example_once_and_none_too_full(lengths: list[int], capacity: int) -> None:
    for packing in (pack, best_fit, least_slack):
        packs = packing(lengths, capacity)
        assert sorted(itertools.chain.from_iterable(packs)) == list(range(len(lengths)))
        assert all(sum(lengths[i] for i in members) <= capacity for members in packs)
        assert packs == packing(lengths, capacity)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(40, 90))
def test_first_pack_is_as_full_as_any_with_the_longest(lengths: list[int], capacity: int) -> None:
    """Against every subset of the other examples."""
    longest = max(lengths)
    rest = sorted(lengths)[:-1]
    sums = (
        longest + sum(chosen)
        for count in range(len(rest) + 1)
        for chosen in itertools.combinations(rest, count)
    )
    best = max(total for total in sums if total <= capacity)
    assert sum(lengths[i] for i in least_slack(lengths, capacity)[0]) == best
