"""Values of expressions: exact fractions where they exist, else numbers of 60 digits.

An irrational or very large number is an `mpmath` one, which keeps any exponent, so that 1/2004! and
1/2006! stay different. What has no value (a division by zero, a variable without one) raises
NoValue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from resources.verifiers.answers.notation.phrases import words
from resources.verifiers.answers.notation.tree import Apply, Name, Number, Series, Tree

Value = Any  # Fraction, mpmath.mpf or mpmath.mpc

DIGITS = 60
_SAME, _OTHER = -45, -30  # decimal exponents of the relative difference: equal below, else above
_EXACT_BITS = 100_000  # larger results are computed with `DIGITS` digits
_MAX_EXPONENT = 10**12
_MAX_FACTORIAL = 10**9
_EXACT_FACTORIAL = 2_000
_MAX_TERMS = 3_000
_STEPS = 200_000


class NoValue(Exception):
    """An expression has no finite value, or none within the limits."""


class TooLarge(NoValue):
    """A positive value whose very exponent is too large to hold."""


def value(tree: Tree, variables: Mapping[str, Value] | None = None) -> Value:
    """The value of a tree, at the given values of its variables. Raises NoValue."""
    import mpmath

    with mpmath.workdps(DIGITS):
        try:
            found = _Evaluation(variables or {}).of(tree)
        except (ZeroDivisionError, OverflowError, ValueError, TypeError, MemoryError) as error:
            raise NoValue(f"no finite value ({type(error).__name__})") from error
        if not isinstance(found, Fraction) and not mpmath.isfinite(found):
            raise NoValue("no finite value")
    return found


def same(left: Value, right: Value) -> bool | None:
    """Whether two values are equal; None when 60 digits do not tell."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    import mpmath

    with mpmath.workdps(DIGITS):
        a, b = inexact(left), inexact(right)
        scale = max(abs(a), abs(b))
        if scale == 0:
            return True
        difference = abs(a - b) / scale
        if difference < mpmath.mpf(10) ** _SAME:
            return True
        return False if difference > mpmath.mpf(10) ** _OTHER else None


def inexact(number: Value) -> Any:
    """The value as an mpmath number."""
    import mpmath

    if isinstance(number, Fraction):
        return mpmath.mpf(number.numerator) / number.denominator
    return number


def real(number: Value) -> Value:
    """The value as a real one. Raises NoValue where it has an imaginary part."""
    import mpmath

    if isinstance(number, mpmath.mpc):
        if abs(number.imag) > abs(number) * mpmath.mpf(10) ** _SAME:
            raise NoValue("not a real value")
        return number.real
    return number


class _Evaluation:
    """One evaluation; counts its steps, so that sums within sums end."""

    def __init__(self, variables: Mapping[str, Value]) -> None:
        self.variables = dict(variables)
        self.steps = 0

    def of(self, tree: Tree) -> Value:
        import mpmath

        self.steps += 1
        if self.steps > _STEPS:
            raise NoValue("too many terms")
        if isinstance(tree, Number):
            return tree.value
        if isinstance(tree, Name):
            if tree.text in self.variables:
                return self.variables[tree.text]
            constants = {"\\pi": mpmath.pi, "e": mpmath.e}
            if tree.text in constants:
                return +constants[tree.text]
            if tree.text == "i":
                return mpmath.mpc(0, 1)
            raise NoValue(f"{tree.text} has no value")
        if isinstance(tree, Series):
            return self.series(tree)
        arguments = [self.of(part) for part in tree.arguments]
        if tree.function.endswith("()"):
            return _opaque(tree.function, arguments)
        if tree.function not in _FUNCTIONS:
            raise NoValue(f"{tree.function} has no value")
        return _FUNCTIONS[tree.function](*arguments)

    def series(self, tree: Series) -> Value:
        low, high = self.of(tree.low), self.of(tree.high)
        if not (_whole(low) and _whole(high)) or high - low > _MAX_TERMS:
            raise NoValue("a sum or product without whole bounds, or of too many terms")
        outer = self.variables.get(tree.index)
        result: Value = Fraction(tree.function == "prod")
        for at in range(int(low), int(high) + 1):
            self.variables[tree.index] = Fraction(at)
            term = self.of(tree.body)
            result = _add(result, term) if tree.function == "sum" else _multiply(result, term)
        self.variables.pop(tree.index, None)
        if outer is not None:
            self.variables[tree.index] = outer
        return result


def _whole(number: Value) -> bool:
    return isinstance(number, Fraction) and number.denominator == 1


def _exact(*numbers: Value) -> bool:
    return all(isinstance(number, Fraction) for number in numbers)


def _add(left: Value, right: Value) -> Value:
    if _exact(left, right):
        return left + right
    import mpmath

    a, b = inexact(left), inexact(right)
    scale, total = max(abs(a), abs(b)), a + b
    if abs(total) < scale * mpmath.mpf(10) ** _SAME:
        return Fraction(0)  # all digits cancel
    if abs(total) < scale * mpmath.mpf(10) ** _OTHER:
        raise NoValue(f"a difference too small for {DIGITS} digits")
    return total


def _multiply(left: Value, right: Value) -> Value:
    return left * right if _exact(left, right) else inexact(left) * inexact(right)


def _divide(left: Value, right: Value) -> Value:
    return left / right if _exact(left, right) else inexact(left) / inexact(right)


def _power(base: Value, exponent: Value) -> Value:
    if _exact(base, exponent) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent.numerator) < _EXACT_BITS:
            return base**exponent.numerator
    if _exact(base, exponent) and base < 0 and exponent.denominator % 2 == 1:
        size = _power(-base, exponent)  # the real value, as a root of odd degree has one
        return -size if exponent.numerator % 2 else size
    if _is_real(base) and _is_real(exponent) and base > 1 and exponent > _MAX_EXPONENT:
        raise TooLarge("a power too large to hold")
    if abs(exponent) > _MAX_EXPONENT:
        raise NoValue("a power too large to hold")
    return inexact(base) ** inexact(exponent)


def _root(number: Value, degree: Value) -> Value:
    """The principal root; the real one of a negative number where the degree is odd."""
    if _whole(degree) and degree % 2 == 1 and _is_real(number) and real(number) < 0:
        return -_root(-real(number), degree)
    if _exact(number) and number >= 0 and _whole(degree) and 0 < degree < 64:
        roots = [_whole_root(part, int(degree)) for part in (number.numerator, number.denominator)]
        if None not in roots:
            return Fraction(*roots)  # type: ignore[arg-type]
    return _power(number, 1 / degree if _exact(degree) else 1 / inexact(degree))


def _whole_root(number: int, degree: int) -> int | None:
    if number.bit_length() > 2_000:
        return None
    guess = round(number ** (1 / degree)) if number.bit_length() < 900 else math.isqrt(number)
    return next(
        (at for at in (guess - 1, guess, guess + 1) if at >= 0 and at**degree == number), None
    )


def _is_real(number: Value) -> bool:
    import mpmath

    return not isinstance(number, mpmath.mpc) or number.imag == 0


def _factorial(number: Value) -> Value:
    if not _whole(number) or not 0 <= number <= _MAX_FACTORIAL:
        raise NoValue("a factorial of no whole number, or of too large a one")
    import mpmath

    if number <= _EXACT_FACTORIAL:
        return Fraction(math.factorial(int(number)))
    return mpmath.factorial(int(number))


def _binomial(upper: Value, lower: Value) -> Value:
    if not (_whole(upper) and _whole(lower)) or not 0 <= upper <= 10_000 or lower < 0:
        raise NoValue("a binomial of no whole numbers")
    return Fraction(math.comb(int(upper), int(lower)))


def _modulo(left: Value, right: Value) -> Value:
    if not (_whole(left) and _whole(right)) or right <= 0:
        raise NoValue("a remainder of no whole numbers")
    return left % right


def _rounded(number: Value, direction: int) -> Value:
    import mpmath

    number = real(number)
    if isinstance(number, Fraction):
        return Fraction(math.floor(number) if direction < 0 else math.ceil(number))
    return Fraction(int(mpmath.floor(number) if direction < 0 else mpmath.ceil(number)))


def _degrees(number: Value) -> Value:
    import mpmath

    return inexact(number) * mpmath.pi / 180


def _many(name: str) -> Any:
    def of(*numbers: Value) -> Value:
        if name in ("max", "min"):
            return {"max": max, "min": min}[name](*map(real, numbers))
        if not all(map(_whole, numbers)):
            raise NoValue(f"the {name} of no whole numbers")
        return Fraction(getattr(math, name)(*map(int, numbers)))

    return of


def _named(name: str) -> Any:
    def of(number: Value) -> Value:
        import mpmath

        if name in ("exp",) and abs(number) > 10**6:
            raise NoValue("an exponential too large to hold")
        found = getattr(mpmath, name)(inexact(number))
        near_zero = abs(found) < mpmath.mpf(10) ** _SAME and abs(number) > 1e-9
        return Fraction(0) if near_zero and name in ("sin", "cos", "tan", "cot", "log") else found

    return of


def _logarithm(number: Value, base: Value) -> Value:
    import mpmath

    return mpmath.log(inexact(number)) / mpmath.log(inexact(base))


def _opaque(name: str, arguments: list[Value]) -> Value:
    """Some value of an unknown function that is the same for the same arguments alone."""
    import mpmath

    seed = sum(ord(letter) * 31**at for at, letter in enumerate(name)) % 97
    return sum(
        (mpmath.sin(inexact(given) + seed + at) * (at + 2) for at, given in enumerate(arguments)),
        start=mpmath.mpf(seed) / 7,
    )


_ALIASES = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "ln": "log",
}  # fmt: skip
_FUNCTIONS: dict[str, Any] = {
    "+": _add, "*": _multiply, "/": _divide, "^": _power, "root": _root, "!": _factorial,
    "neg": lambda number: -number, "binom": _binomial, "mod": _modulo, "degree": _degrees,
    "abs": lambda number: abs(number), "log": _logarithm,
    "floor": lambda number: _rounded(number, -1), "ceil": lambda number: _rounded(number, 1),
    **{name: _many(name) for name in ("gcd", "lcm", "max", "min")},
    **{
        name: _named(_ALIASES.get(name, name))
        for name in (words(
"sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth exp ln"
))
    },
}  # fmt: skip


def decimal_places(tree: Tree) -> int | None:
    """Decimals of a number written as a plain decimal, with its sign; None for all else."""
    if isinstance(tree, Apply) and tree.function == "neg":
        tree = tree.arguments[0]
    return tree.places if isinstance(tree, Number) else None
