"""What relations say: a named value, an equation, a region of the line, a chain of inequalities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resources.verifiers.answers import regions
from resources.verifiers.answers.intervals import as_region
from resources.verifiers.answers.notation import labels
from resources.verifiers.answers.notation.grammar import Style, expression
from resources.verifiers.answers.notation.tokens import Token
from resources.verifiers.answers.notation.tree import Apply, Name, Tree, Unread, minus, names
from resources.verifiers.answers.shapes import (
    Equation,
    Interval,
    Labelled,
    Quantity,
    Region,
    Relation,
    Shape,
)
from resources.verifiers.answers.shapes import (
    Sequence as Ordered,
)
from resources.verifiers.answers.values import NoValue, Value, inexact, real, same, value

Read = Callable[[Sequence[Token], Style], Shape]

_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!="}
_NEAR = 0.02  # relative: what may stand after an approximately-equal sign


def read(tokens: Sequence[Token], style: Style, single: Read) -> Shape:
    """The shape of tokens with relations outside all brackets. Raises Unread.

    `single` reads what stands on one side.
    """
    sides, signs = _sides(tokens)
    if not sides[0] and signs[0] in ("=", "~") and len(sides) > 1:
        return single(tokens[1:], style)  # = 5
    if any(not side for side in sides):
        raise Unread("a relation with an empty side")
    if set(signs) <= {"=", "~"}:
        return _equal(sides, signs, style, single)
    if signs == ["in"]:
        return _member(sides, style, single)
    if set(signs) <= set(_TURNED):
        return _ordered(sides, signs, style)
    raise Unread(f"the relations {' '.join(signs)!r} together")


def _sides(tokens: Sequence[Token]) -> tuple[list[Sequence[Token]], list[str]]:
    sides: list[Sequence[Token]] = []
    signs: list[str] = []
    depth, start = 0, 0
    for at, token in enumerate(tokens):
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if depth == 0 and token.kind == "relation":
            sides.append(tokens[start:at])
            signs.append(token.text)
            start = at + 1
    return [*sides, tokens[start:]], signs


def _equal(sides: list[Sequence[Token]], signs: list[str], style: Style, single: Read) -> Shape:
    name = labels.label(sides[0])
    if name is None and len(sides) == 2 and signs == ["="]:
        turned = labels.label(sides[1])
        if turned is not None and turned.variable and not names(expression(sides[0], style)):
            return Labelled(turned.text, single(sides[0], style))
    if name is not None:
        shapes = [single(side, style) for side in sides[1:]]
        found = _last(shapes, ["=", *signs[1:]])
        if isinstance(found, Quantity) and name.text in names(found.tree):
            return Equation(Name(name.text), found.tree)
        return Labelled(name.text, found, name.variable)
    shapes = [single(side, style) for side in sides]
    trees = [shape.tree for shape in shapes if isinstance(shape, Quantity)]
    if len(trees) != len(shapes):
        raise Unread("an equation between other things than expressions")
    if not any(map(names, trees)):
        return _last(shapes, ["=", *signs])
    if len(trees) != 2 or signs != ["="]:
        raise Unread("a chain of equations")
    return Equation(trees[0], trees[1])


def _last(shapes: Sequence[Shape], signs: Sequence[str]) -> Shape:
    """The last of sides that are exactly equal; rounded ones after it must be near.

    `signs[i]` stands before `shapes[i]`.
    """
    found = shapes[0]
    for sign, shape in zip(signs[1:], shapes[1:], strict=True):
        if not (isinstance(shape, Quantity) and isinstance(found, Quantity)):
            raise Unread("a chain of equations")
        if names(shape.tree) or names(found.tree):
            if sign == "~":
                raise Unread("an approximation with variables")
            found = shape
            continue
        try:
            left, right = value(found.tree), value(shape.tree)
            near = abs(inexact(left) - inexact(right)) <= _NEAR * abs(inexact(left))
        except NoValue as error:
            raise Unread(f"a chain of equations: {error}") from error
        if sign == "~" and near:
            continue
        if sign == "~" or not same(left, right):
            raise Unread("a chain of equations whose sides are not equal")
        found = shape if shape.unit is not None or found.unit is None else found
    return found


def _member(sides: list[Sequence[Token]], style: Style, single: Read) -> Shape:
    name = labels.label(sides[0])
    shape = single(sides[1], style)
    if isinstance(shape, Ordered) and len(shape.items) == 2 and shape.brackets in ("()", "[]"):
        shape = as_region(shape)
    if name is None:
        raise Unread("a membership of something else than a name")
    return Labelled(name.text, shape, name.variable)


def _ordered(sides: list[Sequence[Token]], signs: list[str], style: Style) -> Shape:
    if signs[0] in (">", ">="):
        sides, signs = sides[::-1], [_TURNED[sign] for sign in reversed(signs)]
    if len(set(signs) & {"<", "<="}) == 0 and signs != ["!="]:
        raise Unread(f"the relations {' '.join(signs)!r} together")
    if any(sign not in ("<", "<=") for sign in signs) and signs != ["!="]:
        raise Unread("a chain of relations in several directions")
    called = [labels.label(side) for side in sides]
    at = next((at for at, each in enumerate(called) if each is not None), None)
    if at is not None and len(sides) <= 3 and 0 <= at < len(sides):
        bounds = [expression(side, style) for place, side in enumerate(sides) if place != at]
        found = _bounded(bounds, signs, at)
        label = called[at]
        if found is not None and label is not None:
            return Labelled(label.text, found, label.variable)
    trees = tuple(expression(side, style) for side in sides)
    solved = _linear(trees, signs) if len(trees) == 2 else None
    return solved if solved is not None else Relation(trees, tuple(signs))


def _bounded(bounds: list[Tree], signs: list[str], at: int) -> Region | None:
    """The region of a name at place `at` between constants; None where a bound is none."""
    if any(map(names, bounds)):
        return None
    ends = [_end(bound) for bound in bounds]
    if signs == ["!="]:
        return None if ends[0] is None else regions.complement(regions.point(ends[0]))
    closed = [sign == "<=" for sign in signs]
    if len(ends) == 2:
        if at != 1:
            return None
        return regions.region([Interval(ends[0], ends[1], closed[0], closed[1])])
    if at == 0:
        return regions.region([Interval(None, ends[0], False, closed[0])])
    return regions.region([Interval(ends[0], None, closed[0], False)])


def _end(tree: Tree) -> Value | None:
    plain = tree.arguments[0] if isinstance(tree, Apply) and tree.function == "neg" else tree
    if plain == Name("\\infty"):
        return None
    try:
        return real(value(tree))
    except NoValue as error:
        raise Unread(f"a bound: {error}") from error


def _linear(trees: tuple[Tree, ...], signs: list[str]) -> Shape | None:
    """The solved form of an inequality that is linear in its one variable, else None."""
    difference = minus(trees[0], trees[1])
    free = sorted(names(difference))
    if len(free) != 1:
        return None
    try:
        at = [real(value(difference, {free[0]: point})) for point in _POINTS]
    except NoValue:
        return None
    (x0, x1, x2, x3), (y0, y1, y2, y3) = _POINTS, at
    slope = (y1 - y0) / (x1 - x0) if all(not hasattr(y, "ae") for y in at) else None
    if slope is None or not slope:
        return None
    if y0 + slope * (x2 - x0) != y2 or y0 + slope * (x3 - x0) != y3:
        return None
    zero = x0 - y0 / slope
    if signs == ["!="]:
        return Labelled(free[0], regions.complement(regions.point(zero)))
    closed = signs == ["<="]
    below = (
        Interval(None, zero, False, closed) if slope > 0 else Interval(zero, None, closed, False)
    )
    return Labelled(free[0], regions.region([below]))


def _points() -> tuple[Value, ...]:
    from fractions import Fraction

    return tuple(Fraction(*pair) for pair in ((-1234, 987), (31, 17), (977, 13), (5, 7919)))


_POINTS = _points()
