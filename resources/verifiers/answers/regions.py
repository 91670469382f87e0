"""Regions of the real line: their union, intersection and complement, and whether two are equal.

Ends are compared as values, so that ends that 60 digits cannot tell apart leave equality undecided.
"""

from __future__ import annotations

from collections.abc import Iterable

from resources.verifiers.answers.notation.tree import Unread
from resources.verifiers.answers.shapes import Interval, Region
from resources.verifiers.answers.values import Value, inexact, same

_NEAR = 5e-3  # relative
EVERYTHING = Region((Interval(None, None),))
NOTHING = Region(())


class Undecided(Unread):
    """Two ends are too close to be told apart."""

    def __str__(self) -> str:
        return "ends that 60 digits do not tell apart"


def region(intervals: Iterable[Interval]) -> Region:
    """Intervals in any order as a region: sorted, empty ones left out, touching ones joined."""
    merged: list[Interval] = []
    for interval in sorted(filter(_holds_something, intervals), key=_start):
        if merged and _reaches(merged[-1], interval):
            merged[-1] = _joined(merged[-1], interval)
        else:
            merged.append(interval)
    return Region(tuple(merged))


def point(value: Value) -> Region:
    """One value."""
    return Region((Interval(value, value, True, True),))


def union(left: Region, right: Region) -> Region:
    """What is in either."""
    return region([*left.intervals, *right.intervals])


def intersection(left: Region, right: Region) -> Region:
    """What is in both."""
    return complement(union(complement(left), complement(right)))


def complement(of: Region) -> Region:
    """What is not in it."""
    found: list[Interval] = []
    low: Value | None = None
    low_in = False
    for interval in of.intervals:
        if interval.low is not None:
            found.append(Interval(low, interval.low, low_in, not interval.low_in))
        if interval.high is None:
            return region(found)
        low, low_in = interval.high, not interval.high_in
    found.append(Interval(low, None, low_in, False))
    return region(found)


def equal(left: Region, right: Region) -> bool:
    """Whether two regions hold the same values. Raises Undecided."""
    return len(left.intervals) == len(right.intervals) and all(
        _ends(a) == _ends(b) and _same_end(a.low, b.low) and _same_end(a.high, b.high)
        for a, b in zip(left.intervals, right.intervals, strict=True)
    )


def near(left: Region, right: Region) -> bool:
    """Whether two regions differ by no more than rounding may have changed their ends."""
    if len(left.intervals) != len(right.intervals):
        return False
    pairs = zip(left.intervals, right.intervals, strict=True)
    return all(
        _ends(a) == _ends(b) and _near_end(a.low, b.low) and _near_end(a.high, b.high)
        for a, b in pairs
    )


def _near_end(left: Value | None, right: Value | None) -> bool:
    if left is None or right is None:
        return left is right
    a, b = inexact(left), inexact(right)
    return bool(abs(a - b) <= _NEAR * max(abs(a), abs(b)))


def _ends(interval: Interval) -> tuple[bool, bool]:
    return interval.low_in, interval.high_in


def _same_end(left: Value | None, right: Value | None) -> bool:
    if left is None or right is None:
        return left is right
    return _compare(left, right) == 0


def _compare(left: Value, right: Value) -> int:
    equal = same(left, right)
    if equal is None:
        raise Undecided
    return 0 if equal else (-1 if inexact(left) < inexact(right) else 1)


def _start(interval: Interval) -> tuple[float, bool]:
    import mpmath

    low = -mpmath.inf if interval.low is None else inexact(interval.low)
    return low, not interval.low_in


def _holds_something(interval: Interval) -> bool:
    if interval.low is None or interval.high is None:
        return True
    order = _compare(interval.low, interval.high)
    return order < 0 or (order == 0 and interval.low_in and interval.high_in)


def _reaches(left: Interval, right: Interval) -> bool:
    if left.high is None or right.low is None:
        return True
    order = _compare(left.high, right.low)
    return order > 0 or (order == 0 and (left.high_in or right.low_in))


def _joined(left: Interval, right: Interval) -> Interval:
    if left.high is None or right.high is None:
        high, high_in = None, False
    else:
        order = _compare(left.high, right.high)
        high = left.high if order >= 0 else right.high
        high_in = {1: left.high_in, -1: right.high_in}.get(order, left.high_in or right.high_in)
    low_in = left.low_in or (_same_end(left.low, right.low) and right.low_in)
    return Interval(left.low, high, low_in, high_in)
