"""Exact values of numeric answers: LaTeX or plain text without variables.

Rational results are `Fraction`s; what is irrational or too large is an `mpmath` number of 60
digits, which keeps any exponent, so that 1/2004! and 1/2006! stay different. What this small
grammar does not cover has no value (None) and is left to a computer algebra system.
"""

import re
from fractions import Fraction
from typing import Any

Value = Any  # Fraction or mpmath.mpf

_DIGITS = 60
_SAME, _OTHER = -45, -30  # decimal exponents of the relative difference: equal below, else above
_EXACT_BITS = 100_000  # larger results are computed with `_DIGITS` digits
_MAX_EXPONENT = 10**12
_MAX_FACTORIAL = 20_000
_MAX_DEPTH = 40
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)"
    r"|(?P<constant>\\pi|π|\\mathrm\{e\}|\\text\{e\}|e(?![a-zA-Z]))"
    r"|(?P<frac>\\frac)|(?P<sqrt>\\sqrt|√|sqrt)"
    r"|(?P<operator>\\cdot|\\times|\\div|\*\*|[-+*/^!\u00d7\u00f7\u2212\u00b7])"
    r"|(?P<open>[({\[])|(?P<close>[)}\]]))"
)
_ALIASES = {"\\cdot": "*", "\\times": "*", "\u00d7": "*", "\u00b7": "*", "\\div": "/"}
_ALIASES |= {"\u00f7": "/", "\u2212": "-"}
_PAIRS = {"(": ")", "{": "}", "[": "]"}


class _NotNumeric(Exception):
    """The text is outside the grammar."""


def value(text: str) -> Value | None:
    """The value of a numeric expression, or None.

    >>> value(r"\\frac{1}{2} + 0.25"), value("2^{10}"), value("x + 1")
    (Fraction(3, 4), Fraction(1024, 1), None)
    """
    try:
        return _Parser(_tokens(text)).parse()
    except (_NotNumeric, ZeroDivisionError, OverflowError, ValueError):
        return None


def same(left: Value, right: Value) -> bool | None:
    """Whether two values are equal; None when 60 digits do not tell.

    >>> same(value("sqrt(8)"), value("2 sqrt(2)")), same(value("1/2004!"), value("1/2006!"))
    (True, False)
    """
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    import mpmath  # type: ignore[import-untyped]

    with mpmath.workdps(_DIGITS):
        a, b = _inexact(left), _inexact(right)
        scale = max(abs(a), abs(b))
        if scale == 0:
            return True
        difference = abs(a - b) / scale
        if difference < mpmath.mpf(10) ** _SAME:
            return True
        return False if difference > mpmath.mpf(10) ** _OTHER else None


def close(left: Value, right: Value, tolerance: float) -> bool:
    """Whether two values differ by at most `tolerance`, relative to the larger one."""
    import mpmath

    with mpmath.workdps(_DIGITS):
        a, b = _inexact(left), _inexact(right)
        return bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))


def _inexact(number: Value) -> Any:
    import mpmath

    if isinstance(number, Fraction):
        return mpmath.mpf(number.numerator) / number.denominator
    return number


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place = [], 0
    text = text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise _NotNumeric
        found.append((match.lastgroup, match.group(match.lastgroup)))
        place = match.end()
    return found


class _Parser:
    """Recursive descent: sum, product, sign, power, factorial, atom."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0

    def parse(self) -> Value:
        result = self.sum()
        if self.place != len(self.tokens):
            raise _NotNumeric
        return result

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("end", "")

    def operator(self, *wanted: str) -> str | None:
        kind, text = self.peek()
        text = _ALIASES.get(text, text)
        if kind == "operator" and text in wanted:
            self.place += 1
            return text
        return None

    def sum(self) -> Value:
        result = self.product()
        while sign := self.operator("+", "-"):
            term = self.product()
            result = _combine("+", result, term if sign == "+" else -term)
        return result

    def product(self) -> Value:
        result = self.signed()
        while True:
            before = self.tokens[self.place - 1][0]
            if sign := self.operator("*", "/"):
                result = _combine(sign, result, self.signed())
            elif self.peek()[0] in ("constant", "sqrt", "open", "frac"):
                if before == "number" and self.peek()[0] == "frac":
                    raise _NotNumeric  # 1\frac{1}{2}: a mixed number or a product
                result = _combine("*", result, self.power())
            else:
                return result

    def signed(self) -> Value:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _NotNumeric
        sign = self.operator("-", "+")
        result = self.signed() if sign else self.power()
        self.depth -= 1
        return -result if sign == "-" else result

    def power(self) -> Value:
        base = self.atom()
        while self.operator("!"):
            base = _factorial(base)
        if self.operator("^", "**"):
            return _power(base, self.signed())
        return base

    def atom(self) -> Value:
        kind, text = self.peek()
        self.place += 1
        if kind == "number":
            return Fraction(text)
        if kind == "constant":
            return _constant(text)
        if kind == "frac":
            return _combine("/", self.argument(), self.argument())
        if kind == "sqrt":
            degree = self.group() if self.peek()[1] == "[" else Fraction(2)
            return _root(self.argument(), degree)
        if kind == "open":
            self.place -= 1
            return self.group()
        raise _NotNumeric

    def group(self) -> Value:
        opened = self.peek()[1]
        self.place += 1
        result = self.sum()
        if self.peek()[1] != _PAIRS[opened]:
            raise _NotNumeric
        self.place += 1
        return result

    def argument(self) -> Value:
        """What follows a command: a group, or one digit as in \\frac12."""
        kind, text = self.peek()
        if kind == "number" and text.isdigit() and len(text) > 1:
            self.tokens[self.place : self.place + 1] = [("number", digit) for digit in text]
        return self.atom()


def _combine(sign: str, left: Value, right: Value) -> Value:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        if sign == "+":
            return left + right
        return left * right if sign == "*" else left / right
    import mpmath

    with mpmath.workdps(_DIGITS):
        a, b = _inexact(left), _inexact(right)
        if sign == "+":
            return a + b
        return a * b if sign == "*" else a / b


def _power(base: Value, exponent: Value) -> Value:
    if abs(exponent) > _MAX_EXPONENT:
        raise _NotNumeric
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent.numerator) < _EXACT_BITS:
            return base**exponent.numerator
    import mpmath

    with mpmath.workdps(_DIGITS):
        result = _inexact(base) ** _inexact(exponent)
        if not isinstance(result, mpmath.mpf):
            raise _NotNumeric
        return result


def _root(number: Value, degree: Value) -> Value:
    if number < 0 or degree <= 0:
        raise _NotNumeric
    return _power(number, 1 / degree)


def _factorial(number: Value) -> Value:
    whole = isinstance(number, Fraction) and number.denominator == 1
    if not whole or not 0 <= number <= _MAX_FACTORIAL:
        raise _NotNumeric
    import math

    return Fraction(math.factorial(number.numerator))


def _constant(text: str) -> Value:
    import mpmath

    with mpmath.workdps(_DIGITS):
        return +mpmath.pi if text in ("\\pi", "π") else +mpmath.e
