"""Which of a prompt's responses make a pair: the best and the worst by reward.

Knows rewards and groups, not what earned them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def extremes(rewards: Sequence[float | None], groups: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Index of the best and the worst rewarded response of each group; ties give no pair.

    >>> extremes([0.1, 0.9, 0.5, 0.5, None, 0.4], ["a", "a", "b", "b", "c", "c"])
    [(1, 0)]
    """
    by_group: dict[Hashable, list[tuple[float, int]]] = {}
    for index, (reward, group) in enumerate(zip(rewards, groups, strict=True)):
        if reward is not None:
            by_group.setdefault(group, []).append((reward, index))
    found = []
    for members in by_group.values():
        best = max(members, key=lambda member: member[0])
        worst = min(members, key=lambda member: member[0])
        if best[0] > worst[0]:
            found.append((best[1], worst[1]))
    return found
