"""Expressions as trees, and the error for what cannot be read.

A tree holds exactly what was written; nothing is evaluated here and nothing is ever left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


class Unread(Exception):
    """Something in an answer is not understood; the message says what."""


@dataclass(frozen=True)
class Number:
    """A number as written; `places` decimals after the point, None where there is no point."""

    value: Fraction
    places: int | None = None


@dataclass(frozen=True)
class Name:
    """A variable or a constant: `x`, `a_{1}`, `\\pi`, `e`, `i`, `\\infty`."""

    text: str


@dataclass(frozen=True)
class Apply:
    """An operation or function on its arguments: `+`, `*`, `/`, `^`, `sqrt`, `sin`, `f()`, ..."""

    function: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True)
class Series:
    """A sum or product (`function` is `sum` or `prod`) of `body` over a whole-number `index`."""

    function: str
    index: str
    low: Tree
    high: Tree
    body: Tree


Tree = Number | Name | Apply | Series

CONSTANTS = ("\\pi", "e", "i", "\\infty")


def names(tree: Tree) -> frozenset[str]:
    """The free variables of a tree, constants left out."""
    if isinstance(tree, Name):
        return frozenset() if tree.text in CONSTANTS else frozenset([tree.text])
    if isinstance(tree, Apply):
        return frozenset().union(*map(names, tree.arguments))
    if isinstance(tree, Series):
        return (names(tree.body) - {tree.index}) | names(tree.low) | names(tree.high)
    return frozenset()


def functions(tree: Tree) -> frozenset[str]:
    """The operations and functions that a tree applies."""
    if isinstance(tree, Apply):
        return frozenset([tree.function]).union(*map(functions, tree.arguments))
    if isinstance(tree, Series):
        inside = (tree.low, tree.high, tree.body)
        return frozenset([tree.function]).union(*map(functions, inside))
    return frozenset()


def replaced(tree: Tree, change: Callable[[Tree], Tree | None]) -> Tree:
    """The tree with each part for which `change` gives another one replaced by it."""
    new = change(tree)
    if new is not None:
        return new
    if isinstance(tree, Apply):
        return Apply(tree.function, tuple(replaced(part, change) for part in tree.arguments))
    if isinstance(tree, Series):
        low, high, body = (replaced(part, change) for part in (tree.low, tree.high, tree.body))
        return Series(tree.function, tree.index, low, high, body)
    return tree


def minus(left: Tree, right: Tree) -> Tree:
    """The difference of two trees."""
    return Apply("+", (left, Apply("neg", (right,))))


def to_json(tree: Tree) -> list[Any]:
    """The tree as JSON can hold it."""
    if isinstance(tree, Number):
        return ["number", str(tree.value)]
    if isinstance(tree, Name):
        return ["name", tree.text]
    if isinstance(tree, Apply):
        return ["apply", tree.function, *map(to_json, tree.arguments)]
    parts = map(to_json, (tree.low, tree.high, tree.body))
    return ["series", tree.function, tree.index, *parts]
