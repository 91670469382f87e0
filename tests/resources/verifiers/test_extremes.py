"""The best and the worst of each group, and no pair of a tie."""

from __future__ import annotations

from resources.verifiers.extremes import extremes


def test_best_and_worst_skip_ties() -> None:
    rewards = [0.1, 0.9, 0.5, 0.3, 0.3, None, 0.4]
    assert extremes(rewards, [0, 0, 0, 1, 1, 2, 2]) == [(1, 0)]
    assert extremes([0.5, 0.9, 0.9, 0.1, 0.1], [0] * 5) == [(1, 3)]  # the first of equals
