"""Whether what a program printed or returned is what was wanted. Standard library only.

Floating-point numbers are equal within a tolerance, relative or absolute; the usual judges' 1e-6
unless a problem declares another (0: to the digit).
"""

import math
from collections.abc import Callable
from typing import Any

TOLERANCE = 1e-6


def printed(given: str, wanted: str, checker: str, tolerance: float) -> bool:
    """Whether a printed text is the wanted one.

    >>> printed("6", "6 \\n\\n", "lines", 0), printed("0.5 1", "0.5000 1", "lines", 1e-6)
    (True, True)
    >>> printed("1  2", "1 2", "lines", 0), printed("2\\n1", "1\\n2", "unordered", 0)
    (False, True)
    """
    return CHECKERS[checker](given, wanted, tolerance)


def returned(value: Any, wanted: Any, checker: str, tolerance: float) -> bool:
    """Whether a value is the wanted one, which came as JSON: a tuple is a list, a key may be text.

    APPS and TACO wrap what a function returns in a list: both forms are taken.

    >>> returned((1, 2), [1, 2], "equal", 0), returned(3, [3], "equal", 0)
    (True, True)
    >>> returned(1, True, "equal", 0)
    False
    """
    if checker == "unordered" and isinstance(value, (list, tuple, set, frozenset)):
        return any(
            isinstance(form, list) and _multiset(list(value), form, tolerance)
            for form in _forms(wanted)
        )
    return any(_same(value, form, tolerance) for form in _forms(wanted))


def _forms(wanted: Any) -> list[Any]:
    wrapped = isinstance(wanted, list) and len(wanted) == 1
    return [wanted, wanted[0]] if wrapped else [wanted]


def _same(value: Any, wanted: Any, tolerance: float) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        if isinstance(value, int) and isinstance(wanted, int):
            return value == wanted
        return _close(float(value), float(wanted), tolerance)
    if isinstance(value, (list, tuple)) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(
            _same(a, b, tolerance) for a, b in zip(value, wanted, strict=True)
        )
    if isinstance(value, (set, frozenset)) and isinstance(wanted, list):
        return _multiset(list(value), wanted, tolerance)
    if isinstance(value, dict) and isinstance(wanted, dict):
        named = {_key(key): each for key, each in value.items()}
        return named.keys() == wanted.keys() and all(
            _same(named[key], wanted[key], tolerance) for key in wanted
        )
    return type(value) is type(wanted) and bool(value == wanted)


def _key(key: Any) -> str:
    """A key as JSON spells it."""
    spelled = {True: "true", False: "false", None: "null"}
    return spelled[key] if key is None or isinstance(key, bool) else str(key)


def _multiset(values: list[Any], wanted: list[Any], tolerance: float) -> bool:
    if len(values) != len(wanted):
        return False
    left = list(wanted)
    for value in values:
        found = next((i for i, each in enumerate(left) if _same(value, each, tolerance)), None)
        if found is None:
            return False
        del left[found]
    return True


def _close(a: float, b: float, tolerance: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or (
        math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) if math.isfinite(a + b) else False
    )  # fmt: skip


def _lines(text: str) -> list[str]:
    """Lines without the white space that no judge counts: at their ends and after the last one."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _by_lines(given: str, wanted: str, tolerance: float) -> bool:
    ours, theirs = _lines(given), _lines(wanted)
    return len(ours) == len(theirs) and all(
        _line(a, b, tolerance) for a, b in zip(ours, theirs, strict=True)
    )


def _line(given: str, wanted: str, tolerance: float) -> bool:
    if given == wanted:
        return True
    return given.count(" ") == wanted.count(" ") and _by_tokens(given, wanted, tolerance)


def _by_tokens(given: str, wanted: str, tolerance: float) -> bool:
    ours, theirs = given.split(), wanted.split()
    return len(ours) == len(theirs) and all(
        _token(a, b, tolerance) for a, b in zip(ours, theirs, strict=True)
    )


def _token(given: str, wanted: str, tolerance: float) -> bool:
    if given == wanted:
        return True
    if not tolerance or not any(mark in given + wanted for mark in ".eE"):
        return False
    try:
        return _close(float(given), float(wanted), tolerance)
    except ValueError:
        return False


def _unordered(given: str, wanted: str, tolerance: float) -> bool:
    left = _lines(wanted)
    for line in _lines(given):
        found = next((i for i, each in enumerate(left) if _line(line, each, tolerance)), None)
        if found is None:
            return False
        del left[found]
    return not left


CHECKERS: dict[str, Callable[[str, str, float], bool]] = {
    "lines": _by_lines,
    "tokens": _by_tokens,
    "unordered": _unordered,
    "exact": lambda given, wanted, tolerance: given == wanted,
    "equal": _by_lines,
}
