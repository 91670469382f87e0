"""Computer algebra (SymPy) on trees: are two equations one, where does an inequality hold.

Runs in the worker process of `symbolic.py` alone: it may take any time or memory.
"""

from __future__ import annotations

import operator
from typing import Any

DIGITS = 60
_SIGNS = {"<": operator.lt, "<=": operator.le}


class NoAnswer(Exception):
    """SymPy cannot tell; the message says what stands in the way."""


def one_equation(left: list[Any], right: list[Any]) -> bool | None:
    """Whether two expressions are zero at the same places; None where they are no polynomials."""
    import sympy

    factors = []
    for tree in (left, right):
        top, _ = sympy.fraction(sympy.cancel(sympy.together(_built(tree, {}))))
        if not top.is_polynomial(*top.free_symbols) or not top.free_symbols:
            return None
        _, found = sympy.factor_list(top)
        factors.append({_unsigned(factor) for factor, _ in found})
    return factors[0] == factors[1]


def solved(trees: list[Any], signs: list[str]) -> list[list[Any]]:
    """Where a chain of inequalities in one variable holds: intervals [low, high, low in, high in].

    Ends are decimals as text, None for an infinite one. Raises NoAnswer.
    """
    import sympy

    names: dict[str, Any] = {}
    sides = [_built(tree, names, real=True) for tree in trees]
    if len(names) != 1:
        raise NoAnswer("an inequality in several variables")
    (symbol,) = names.values()
    found: Any = sympy.S.Reals
    for left, right, sign in zip(sides, sides[1:], signs, strict=False):
        relation = sympy.Ne(left, right) if sign == "!=" else _SIGNS[sign](left, right)
        if relation in (sympy.true, sympy.false):
            found = found if relation == sympy.true else sympy.S.EmptySet
            continue
        found &= sympy.solve_univariate_inequality(relation, symbol, relational=False)
    return list(_intervals(found))


def _unsigned(factor: Any) -> Any:
    """A factor up to a constant: divided by its leading coefficient."""
    import sympy

    return sympy.Poly(factor, *sorted(factor.free_symbols, key=str)).monic().as_expr()


def _intervals(found: Any) -> Any:
    import sympy

    for part in found.args if isinstance(found, sympy.Union) else [found]:
        if isinstance(part, sympy.FiniteSet):
            for value in part:
                yield [_text(value), _text(value), True, True]
        elif isinstance(part, sympy.Interval):
            yield [_text(part.start), _text(part.end), not part.left_open, not part.right_open]
        elif part == sympy.S.Reals:
            yield [None, None, False, False]
        elif part is not sympy.S.EmptySet:
            raise NoAnswer("a solution that is no union of intervals")


def _text(value: Any) -> str | None:
    return None if value.is_infinite else str(value.evalf(DIGITS))


def _built(tree: list[Any], names: dict[str, Any], *, real: bool = False) -> Any:
    """The tree as a SymPy expression; `names` collects its symbols."""
    import sympy

    kind, *rest = tree
    if kind == "number":
        return sympy.Rational(rest[0])
    if kind == "name":
        constants = {"\\pi": sympy.pi, "e": sympy.E, "i": sympy.I, "\\infty": sympy.oo}
        if rest[0] in constants:
            return constants[rest[0]]
        return names.setdefault(rest[0], sympy.Symbol(rest[0], real=real or None))
    if kind == "series":
        function, index, *parts = rest
        own = {**names, index: sympy.Symbol(index, integer=True)}
        low, high, body = (_built(part, own, real=real) for part in parts)
        names.update({name: symbol for name, symbol in own.items() if name != index})
        series = {"sum": sympy.Sum, "prod": sympy.Product}[function]
        return series(body, (own[index], low, high)).doit()
    function, *arguments = rest
    built = [_built(argument, names, real=real) for argument in arguments]
    if function.endswith("()"):
        return sympy.Function(function[:-2])(*built)
    if function not in _functions():
        raise NoAnswer(f"no algebra of {function}")
    return _functions()[function](*built)


def _functions() -> dict[str, Any]:
    import sympy

    same = (
        "sin cos tan cot sec csc sinh cosh tanh coth exp gcd lcm floor binomial factorial Abs Mod"
    )
    named = {name: getattr(sympy, name) for name in same.split()}
    inverse = {f"arc{name}": getattr(sympy, f"a{name}") for name in ("sin", "cos", "tan", "cot")}
    return {
        **named, **inverse,
        "+": operator.add, "*": operator.mul, "/": operator.truediv, "^": operator.pow,
        "neg": operator.neg, "root": sympy.root, "!": sympy.factorial, "binom": sympy.binomial,
        "abs": sympy.Abs, "ceil": sympy.ceiling, "ln": sympy.log, "log": sympy.log,
        "degree": lambda value: value * sympy.pi / 180, "mod": sympy.Mod,
        "max": sympy.Max, "min": sympy.Min,
    }  # fmt: skip
