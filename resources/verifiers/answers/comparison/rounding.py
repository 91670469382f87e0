"""Decimals beside exact values: when one is the other, rounded, and when that is enough.

A rounding to at least five significant digits counts as the value; one to fewer may have been asked
for or not, which the two answers do not say.
"""

from __future__ import annotations

from fractions import Fraction

from resources.verifiers.answers.comparison.identities import Outcome
from resources.verifiers.answers.notation.tree import Tree, names
from resources.verifiers.answers.values import NoValue, Value, decimal_places, inexact, real, value

ENOUGH = 5  # significant digits that are the value
_SOME = 3  # significant digits that may be


def rounded(got: Tree, want: Tree) -> Outcome | None:
    """The outcome for two different values of which one may be the other rounded; else None."""
    if names(got) or names(want):
        return None
    try:
        mine, theirs = real(value(got)), real(value(want))
    except NoValue:
        return None
    written, given = decimal_places(got), decimal_places(want)
    if written is not None and not _ends(theirs):
        digits = _rounding(mine, theirs, written)
        if digits >= ENOUGH:
            return Outcome(True, f"the expected value rounded to {digits} digits")
        if digits >= _SOME:
            return Outcome(None, f"the expected value rounded to {digits} digits only")
        if digits < 0:
            return Outcome(None, "the expected value cut off after its last decimal")
    if given is not None and (written is None or written > given):
        digits = _rounding(theirs, mine, given)
        if digits >= ENOUGH:
            return Outcome(True, f"the expected answer is it rounded to {digits} digits")
        if digits >= _SOME:
            return Outcome(None, f"the expected answer is it rounded to {digits} digits only")
    return None


def _ends(number: Value) -> bool:
    """Whether a value is a decimal of few places."""
    if not isinstance(number, Fraction):
        return False
    rest = number.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1 and number.denominator < 10**6


def _rounding(decimal: Fraction, exact: Value, places: int) -> int:
    """Significant digits of a decimal that is a value rounded to its places.

    Below 0 where it is the value cut off after enough of them, 0 where it is neither.
    """
    off = abs(inexact(exact) - inexact(decimal))
    digits = len(str(abs(int(decimal * 10**places)))) if decimal else 0
    if off <= inexact(Fraction(1, 2 * 10**places)) * (1 + 1e-12):
        return digits
    cut = off < inexact(Fraction(1, 10**places)) and abs(inexact(exact)) > abs(inexact(decimal))
    return -digits if cut and digits >= ENOUGH else 0
