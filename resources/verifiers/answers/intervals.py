"""Sets of real values among the shapes: intervals, finite sets, and what else stands for one."""

from __future__ import annotations

from collections.abc import Sequence as Many

from resources.verifiers.answers import regions
from resources.verifiers.answers.notation.tree import Apply, Name, Tree, Unread, functions
from resources.verifiers.answers.shapes import (
    Collection,
    Interval,
    Labelled,
    Quantity,
    Region,
    Sequence,
    Shape,
)
from resources.verifiers.answers.values import NoValue, inexact, real, value


def interval(items: Many[Shape], brackets: str) -> Region:
    """Two ends as an interval. Raises Unread where they are not real values in order."""
    low, high = (end(item) for item in items)
    if low == float("inf") or high == -float("inf"):
        raise Unread("an interval from or to the wrong end")
    low, high = (None if isinstance(each, float) else each for each in (low, high))
    if low is not None and high is not None and not _ordered(low, high):
        raise Unread("an interval whose ends are not in order")
    made = Interval(
        low, high, brackets[0] == "[" and low is not None, brackets[1] == "]" and high is not None
    )
    return regions.region([made])


def _ordered(low: object, high: object) -> bool:
    return bool(inexact(low) <= inexact(high))


def end(item: Shape) -> object:
    """The value of an interval's end; a float infinity for an infinite one."""
    if not isinstance(item, Quantity):
        raise Unread("an interval whose end is no value")
    if infinite(item.tree):
        return -float("inf") if functions(item.tree) == {"neg"} else float("inf")
    try:
        return real(value(item.tree))
    except NoValue as error:
        raise Unread(f"an interval's end: {error}") from error


def infinite(tree: Tree) -> bool:
    """Whether an expression is infinity, with any sign."""
    if isinstance(tree, Apply) and tree.function == "neg":
        tree = tree.arguments[0]
    return tree == Name("\\infty")


def as_region(shape: Shape) -> Region:
    """A shape as a set of real values. Raises Unread for one that is none."""
    if isinstance(shape, Region):
        return shape
    if isinstance(shape, Labelled):
        return as_region(shape.value)
    if isinstance(shape, Sequence) and len(shape.items) == 2 and shape.brackets in ("()", "[]"):
        return interval(shape.items, shape.brackets)
    if isinstance(shape, Collection):
        found = regions.NOTHING
        for item in shape.items:
            value_of = end(item)
            if isinstance(value_of, float):
                raise Unread("an infinite member of a set")
            found = regions.union(found, regions.point(value_of))
        return found
    raise Unread("a union with something else than a set")
