"""Whether two amounts are the same: values with units, numbers in bases, ratios, letters.

A unit stated on one side only is understood on the other, percents also as hundredths; a stated
base is part of the number.
"""

from __future__ import annotations

from fractions import Fraction

from resources.verifiers.answers import units
from resources.verifiers.answers.comparison import identities, rounding
from resources.verifiers.answers.comparison.identities import Outcome
from resources.verifiers.answers.intervals import infinite
from resources.verifiers.answers.notation.tree import Apply, Name, Number, Tree, names, replaced
from resources.verifiers.answers.shapes import Based, Quantity, Ratio
from resources.verifiers.answers.units import Unit

SAME = Outcome(True, "the same")


def quantities(got: Quantity, want: Quantity) -> Outcome:
    """Values, with their units where both state one; a unit left out is the other's."""
    rows = letters(got.tree), letters(want.tree)
    if None not in rows and got.unit is None and want.unit is None:
        return _orderings(*rows)  # type: ignore[arg-type]
    if got.unit is None and want.unit is None:
        return values(got.tree, want.tree)
    if got.unit is None or want.unit is None:
        return _one_unit(got, want)
    if not (got.unit.known and want.unit.known):
        found = values(got.tree, want.tree)
        one_known = got.unit.known != want.unit.known
        if got.unit.text == want.unit.text or not (found.equal or one_known):
            return found
        return Outcome(None, f"{got.unit.text} may be {want.unit.text} or not")
    if (got.unit.dimension, got.unit.scale, got.unit.shift) == (
        want.unit.dimension, want.unit.scale, want.unit.shift,
    ):  # fmt: skip
        return values(got.tree, want.tree)
    if got.unit.dimension == want.unit.dimension:
        found = values(_in_base(got.tree, got.unit), _in_base(want.tree, want.unit))
        return Outcome(found.equal, f"{got.unit.text} converted to {want.unit.text}: {found.why}")
    angles = {got.unit.dimension, want.unit.dimension} == {(("angle", 1),), (("radian", 1),)}
    if angles:
        return values(_radians(got), _radians(want))
    dimensions = {got.unit.dimension[0][0], want.unit.dimension[0][0]}
    if dimensions in ({"month", "time"}, {"sterling", "mass"}):
        return Outcome(None, f"how many {got.unit.text} are {want.unit.text}, if any")
    if units.DEGREE in (got.unit, want.unit) and _temperature(got.unit, want.unit):
        found = values(got.tree, want.tree)
        return Outcome(None, "degrees without scale") if found.equal else found
    return Outcome(False, f"{got.unit.text} is not {want.unit.text}")


def _temperature(*stated: Unit) -> bool:
    return any(unit.dimension == (("temperature", 1),) for unit in stated)


def _one_unit(got: Quantity, want: Quantity) -> Outcome:
    """A unit on one side only: the other is read in it; percents also as hundredths."""
    unit = got.unit or want.unit
    assert unit is not None
    found = values(got.tree, want.tree)
    if found.equal:
        return Outcome(True, f"{found.why}, in {unit.text} on one side")
    if unit == units.PERCENT:
        hundredth = Number(units.UNITS["cent"].scale)
        left, right = (
            Apply("*", (each.tree, hundredth)) if each.unit else each.tree for each in (got, want)
        )
        return identities.equal(left, right)
    if found.equal is False and _by_letters(got.tree, want.tree):
        return Outcome(None, f"letters that may be units, against {unit.text}")
    if unit == units.DEGREE and identities.equal(_radians(got), _radians(want)).equal:
        return Outcome(None, "equal if the side without unit is in radians")
    return found


def _by_letters(got: Tree, want: Tree) -> bool:
    """Whether two values are equal if letters that may be units are left out: 60 m/s and 60."""
    letters_apart = names(got) ^ names(want)
    if not letters_apart or not letters_apart <= units.LETTERS:
        return False
    one = Number(Fraction(1))
    left, right = (
        replaced(tree, lambda part: one if isinstance(part, Name) and names(part) else None)
        for tree in (got, want)
    )
    return identities.constant(left, right).equal is True


def _in_base(tree: Tree, unit: Unit) -> Tree:
    scaled = Apply("*", (tree, Number(unit.scale)))
    return Apply("+", (scaled, Number(unit.shift))) if unit.shift else scaled


def _radians(quantity: Quantity) -> Tree:
    degrees = quantity.unit == units.DEGREE
    return Apply("degree", (quantity.tree,)) if degrees else quantity.tree


def values(got: Tree, want: Tree) -> Outcome:
    if infinite(got) or infinite(want):
        agreed = got == want
        return Outcome(agreed, "the same infinity" if agreed else "infinite on one side")
    found = identities.equal(got, want)
    return rounding.rounded(got, want) or found if found.equal is False else found


def letters(tree: Tree) -> str | None:
    """The letters of a name or of a bare product of letters."""
    if isinstance(tree, Name):
        return tree.text if tree.text.isalpha() and tree.text not in ("e", "i") else None
    if isinstance(tree, Apply) and tree.function == "*":
        parts = [letters(part) for part in tree.arguments]
        return None if None in parts else "".join(parts)  # type: ignore[arg-type]
    return None


def _orderings(got: str, want: str) -> Outcome:
    """Letters in a row: a name, a choice or an ordering; a product where there are two."""
    if got == want:
        return SAME
    if got.lower() == want.lower():
        return Outcome(None, f"{got} and {want} differ in case only")
    if sorted(got) != sorted(want):
        return Outcome(False, f"{got} is not {want}")
    if len(got) == 2 and got.islower():
        return Outcome(True, "the same product")
    if len(got) == 2 or got.islower():
        return Outcome(None, f"{got} and {want}: a product, or an order")
    return Outcome(False, f"{got} is another order than {want}")


def based(got: Based, want: Based) -> Outcome:
    if got.base == want.base:
        agreed = got.value == want.value
        return Outcome(agreed, f"{'the same' if agreed else 'other'} digits in base {got.base}")
    if got.value == want.value:
        return Outcome(None, f"the same value in base {got.base}, not in base {want.base}")
    return Outcome(False, "their values differ")


def based_and_value(based: Based, other: Quantity) -> Outcome:
    """A number without a base is decimal."""
    found = values(Number(Fraction(based.value)), other.tree)
    if based.base == 10 or not found.equal:
        return found
    return Outcome(None, f"the same value, in base {based.base} on one side only")


def ratios(got: Ratio, want: Ratio) -> Outcome:
    if len(got.parts) != len(want.parts):
        return Outcome(False, "ratios of other lengths")
    parts = list(zip(got.parts, want.parts, strict=True))
    if all(values(*pair).equal for pair in parts):
        if got.half == want.half:
            return SAME
        one = not (got.half and want.half)
        return Outcome(None if one else False, "the half of the day")
    zero = Number(Fraction(0))
    if any(identities.constant(part, zero).equal for part in (*got.parts, *want.parts)):
        return Outcome(False, "other amounts, one of them zero")
    crossed = [
        identities.equal(Apply("*", (got.parts[0], b)), Apply("*", (want.parts[0], a)))
        for a, b in parts[1:]
    ]
    if all(each.equal for each in crossed):
        clock = got.clock and want.clock
        return Outcome(
            None if clock else True, "times of day, or equal ratios" if clock else "equal ratios"
        )
    return next(each for each in crossed if not each.equal)


def ratio_and_value(ratio: Ratio, other: Quantity) -> Outcome:
    if len(ratio.parts) != 2 or other.unit is not None:
        return Outcome(False, "a ratio against a value")
    found = values(Apply("/", ratio.parts), other.tree)
    return Outcome(None, "a time of day, or a ratio") if ratio.clock and found.equal else found
