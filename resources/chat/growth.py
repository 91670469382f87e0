"""What one step of a chat template may make, told before it is made.

A template can ask for any amount in one step: a width, a text put between others, a list doubled
again and again. `sandbox.py` counts loops and what is written; here each call, filter and sum is
bounded. It knows no template.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import GeneratorType
from typing import Any

from resources.chat.errors import ChatError

ROOM = 1_000_000  # entries of a list that is repeated or put together
TEXT = 64_000_000  # characters in one value
BITS = 4096  # of a whole number
_NODE = 64  # what a list or mapping counts for, so that counting empty ones ends soon
_STEPS = 200_000  # entries that something without a length may have
_LONG = re.compile(r"%[^a-zA-Z%]*(?:\*|\d{7})|\{[^{}]*:[^{}]*(?:\{|\d{7})")  # a width of any size
_LAZY = ("map", "select", "reject", "selectattr", "rejectattr", "first")  # read one entry at a time
Rule = Callable[[Any, Sequence[Any]], int]  # subject and further arguments: characters at most


def size(value: Any, most: int = TEXT) -> int:
    """Characters in a value of nested mappings and lists; no more is counted behind `most`."""
    found, left = 0, [value]
    while left and found <= most:
        each = left.pop()
        if isinstance(each, str):
            found += len(each)
            continue
        found += _NODE if isinstance(each, Mapping | list | tuple) else 8
        if isinstance(each, Mapping):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple):
            left += each
    return found


def within(name: str, amount: int) -> None:
    """Raise ChatError where a step would make more than one value may hold."""
    if amount > TEXT:
        raise ChatError(f"its {name} makes a text of more than {TEXT:,} characters")


def step(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses what would make too much."""
    context = hasattr(function, "jinja_pass_arg")  # it is given the template's context first

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        head, (subject, *rest) = args[:context], args[context:]
        if isinstance(subject, GeneratorType) and name not in _LAZY:
            subject = _listed(name, subject)
        _check(name, subject, [*rest, *kwargs.values()])
        return function(*head, subject, *rest, **kwargs)

    return bounded


def method(called: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise ChatError where a text's own method, such as `replace`, would make too much."""
    subject = getattr(getattr(called, "__wrapped__", called), "__self__", None)
    if isinstance(subject, str):
        given, name = [*args, *kwargs.values()], called.__name__
        if name == "join" and given:
            subject, given = given[0], [subject]
        _check(name, subject, given)


def at_random(*args: Any, **kwargs: Any) -> Any:
    """Stands for what draws at random: one conversation must always read the same."""
    raise ChatError("it draws at random, so that no conversation reads the same twice")


def concat(parts: Iterable[str]) -> str:
    """The text that a block has written."""
    listed = list(parts)
    within("block", sum(map(len, listed)))
    return "".join(listed)


def written(value: Any) -> Any:
    """A value that is to be written: a list that holds itself many times over would never end."""
    if isinstance(value, Mapping | list | tuple):
        within("output", size(value))
    return value


def join(*parts: Any) -> Any:
    """What `~` puts together."""
    return functools.reduce(plus, (str(written(part)) for part in parts))


def plus(left: Any, right: Any) -> Any:
    """A sum; doubling again and again is a way to fill the memory."""
    if isinstance(left, str) and isinstance(right, str) and len(left) + len(right) > TEXT:
        raise ChatError(f"it puts together a text of more than {TEXT:,} characters")
    listed = isinstance(left, list | tuple) and isinstance(right, list | tuple)
    if listed and len(left) + len(right) > ROOM:
        raise ChatError(f"it puts together a list of more than {ROOM:,} entries")
    return left + right


def times(left: Any, right: Any) -> Any:
    """A product; repeating a text or a list is another way."""
    for sequence, count in ((left, right), (right, left)):
        repeats = isinstance(sequence, str | list | tuple) and isinstance(count, int)
        if repeats and len(sequence) * count > ROOM:
            raise ChatError(f"it repeats {len(sequence)} characters {count:,} times")
    if isinstance(left, int) and isinstance(right, int):
        _whole(left.bit_length() + right.bit_length())
    return left * right


def power(left: Any, right: Any) -> Any:
    """A power, of numbers that stay small."""
    if isinstance(right, int | float) and abs(right) > 64:
        raise ChatError(f"it computes a power of {right}")
    if isinstance(left, int) and isinstance(right, int):
        _whole(left.bit_length() * abs(right))
    return left**right


def rest(left: Any, right: Any) -> Any:
    """What `%` gives: a remainder, or a text with values in its places."""
    if isinstance(left, str):
        _check("%", left, [right])
    return left % right


def _whole(bits: int) -> None:
    if bits > BITS:
        raise ChatError(f"it computes a number of more than {BITS:,} bits")


def _check(name: str, subject: Any, given: Sequence[Any]) -> None:
    if name in _RULES:
        within(name, _RULES[name](subject, given))


def _listed(name: str, entries: Iterable[Any]) -> list[Any]:
    """What something without a length gives, as long as it is not too much."""
    made, amount = [], 0
    for entry in entries:
        amount += size(entry)
        within(name, amount)
        made.append(entry)
    return made


def _number(given: Sequence[Any]) -> int:
    return max((abs(each) for each in given if isinstance(each, int)), default=0)


def _longest(given: Sequence[Any]) -> int:
    return max((size(each) for each in given if not isinstance(each, int)), default=0)


def _count(subject: Any, part: Any) -> int:
    """How often a part stands in a text."""
    if not isinstance(subject, str) or not isinstance(part, str):
        return size(subject)
    return subject.count(part)


def _entries(subject: Any) -> int:
    return len(subject) if hasattr(subject, "__len__") else _STEPS


def _formatted(subject: Any, given: Sequence[Any]) -> int:
    text = str(subject)
    if _LONG.search(text):
        return TEXT + 1
    return size(text) + (text.count("%") + text.count("{")) * _longest(given)


def _alone(subject: Any, given: Sequence[Any]) -> int:
    return size(subject)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("center", "ljust", "rjust", "zfill", "batch", "slice"),
        lambda subject, given: size(subject) + _number(given),
    ),
    "expandtabs": lambda subject, given: size(subject) + subject.count("\t") * _number(given),
    "indent": lambda subject, given: (
        size(subject) + (_count(subject, "\n") + 1) * max(_number(given), _longest(given))
    ),
    "wordwrap": lambda subject, given: size(subject) * max(1, _longest(given)),
    "replace": lambda subject, given: (
        size(subject) + _count(subject, given[0] if given else "") * _longest(given[1:])
    ),
    "join": lambda subject, given: size(subject) + _entries(subject) * _longest(given),
    "translate": lambda subject, given: size(subject) * max(1, _longest(given)),
    "tojson": lambda subject, given: size(subject) * max(1, _number(given), _longest(given)),
    "sum": lambda subject, given: size(subject) + _entries(subject) * _longest(given),
    **dict.fromkeys(("format", "format_map", "%"), _formatted),
    **dict.fromkeys(
        (
            *("string", "escape", "e", "forceescape", "urlencode", "urlize", "pprint", "xmlattr"),
            *("trim", "lower", "upper", "title", "capitalize", "truncate", "striptags"),
            *("wordcount",),
        ),
        _alone,
    ),
}
