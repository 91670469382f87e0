"""Whether two expressions have the same value whatever their variables are.

They are evaluated exactly or to 60 digits at fixed points: positive values, values of any sign,
whole numbers. Two that agree at all of them are equal; two that agree at some kinds of points only
(`x` and `|x|`, `(-1)^n` and `\\cos n\\pi`) are neither equal nor different from what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from resources.verifiers.answers.notation.tree import Name, Tree, names, replaced
from resources.verifiers.answers.values import NoValue, TooLarge, Value, same, value


@dataclass(frozen=True)
class Outcome:
    """`equal`: None where it cannot be told; `why`: in a few words."""

    equal: bool | None
    why: str


_POSITIVE = ("1739/1217", "3571/907", "811/1409", "2953/613", "1123/1877", "457/211")
_SIGNED = ("-1511/887", "-2371/509", "769/1303", "-331/599", "1667/1013", "2111/401")
_WHOLE = ("11", "7", "5", "13", "9", "6")
_KINDS = (
    ("positive values", _POSITIVE),
    ("values of any sign", _SIGNED),
    ("whole numbers", _WHOLE),
)
_POINTS = 4  # of each kind
_NEEDED = 2  # points of a kind at which both must have a value


def equal(left: Tree, right: Tree) -> Outcome:
    """Whether two expressions are equal for all values of their variables."""
    free = sorted(names(left) | names(right))
    if not free:
        return constant(left, right)
    seen: dict[str, bool | None] = {}
    for kind, values in _KINDS:
        seen[kind] = _agree(left, right, free, values)
    told = {kind: agreed for kind, agreed in seen.items() if agreed is not None}
    if not told:
        return Outcome(None, "no value at any point tried")
    if all(told.values()):
        if set(told) == {"whole numbers"} or len(told) > 1:
            return Outcome(True, f"equal at {' and '.join(told)} of {', '.join(free)}")
        return Outcome(None, f"equal at {', '.join(told)}, no values elsewhere")
    agreed = [kind for kind, yes in told.items() if yes]
    if agreed:
        return Outcome(None, f"equal at {', '.join(agreed)} of {', '.join(free)} only")
    return _renamed(left, right)


def constant(left: Tree, right: Tree) -> Outcome:
    """Whether two expressions without variables have the same value."""
    try:
        large, found = False, value(left)
    except TooLarge:
        large, found = True, None
    except NoValue as error:
        return Outcome(None, f"the answer has no value: {error}")
    try:
        other = value(right)
    except TooLarge as error:
        return Outcome(None if large else False, str(error))
    except NoValue as error:
        return Outcome(None, f"the expected answer has no value: {error}")
    if large:
        return Outcome(False, "too large a power")
    agreed = same(found, other)
    if agreed is None:
        return Outcome(None, "60 digits do not tell them apart")
    return Outcome(agreed, "the same value" if agreed else "their values differ")


def proportional(left: Tree, right: Tree, *, positive: bool = False) -> bool | None:
    """Whether the quotient of two expressions is one constant (above zero, if `positive`).

    None where they have too few values.
    """
    free = sorted(names(left) | names(right))
    quotients: list[Value] = []
    for _, values in _KINDS[:2]:
        for at in range(_POINTS):
            try:
                above, below = (value(tree, _point(free, values, at)) for tree in (left, right))
            except NoValue:
                continue
            if above == 0 or below == 0:
                if (above == 0) != (below == 0):
                    return False
                continue
            exact = isinstance(above, Fraction) and isinstance(below, Fraction)
            quotients.append(above / below if exact else _inexact(above) / _inexact(below))
    if len(quotients) < 2 * _NEEDED:
        return None
    if not all(same(quotients[0], other) for other in quotients[1:]):
        return False
    return not positive or bool(getattr(quotients[0], "imag", 0) == 0 and quotients[0].real > 0)


def linear(tree: Tree) -> bool:
    """Whether an expression is linear in all of its variables together, as far as points show."""
    free = sorted(names(tree))
    try:
        base = _point(free, _POSITIVE, 0)
        step = _point(free, _SIGNED, 1)
        at = [
            value(tree, {name: base[name] + times * step[name] for name in free})
            for times in (0, 1, 2, 5)
        ]
    except NoValue:
        return False
    slope = at[1] - at[0]
    return bool(same(at[2] - at[0], 2 * slope) and same(at[3] - at[0], 5 * slope))


def _inexact(number: Value) -> Value:
    from resources.verifiers.answers.values import inexact

    return inexact(number)


def _point(free: Sequence[str], values: Sequence[str], at: int) -> dict[str, Fraction]:
    """The values of the variables at one point: all different, and others at each point."""
    count = len(values)
    return {
        name: Fraction(values[(at + place) % count]) + place // count + (place * at) % 3
        for place, name in enumerate(free)
    }


def _agree(left: Tree, right: Tree, free: Sequence[str], values: Sequence[str]) -> bool | None:
    """Whether two expressions agree at the points of one kind; None where too few have values."""
    told = 0
    for at in range(_POINTS):
        point = _point(free, values, at)
        try:
            agreed = same(value(left, point), value(right, point))
        except NoValue:
            continue
        if agreed is False:
            return False
        told += agreed is not None
    return True if told >= _NEEDED else None


def _renamed(left: Tree, right: Tree) -> Outcome:
    """The outcome for different expressions: undecided where only a variable's name differs."""
    mine, theirs = names(left), names(right)
    if len(mine) == len(theirs) == 1 and mine != theirs:
        (old,), (new,) = mine, theirs
        other = replaced(left, lambda part: Name(new) if part == Name(old) else None)
        if equal(other, right).equal:
            return Outcome(None, f"equal if {old} is another name of {new}")
    return Outcome(False, "different at every kind of point tried")
