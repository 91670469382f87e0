"""Answers in words: one form for phrases that say the same, and numbers written as words."""

from __future__ import annotations

import re
from fractions import Fraction


def words(text: str) -> list[str]:
    """The words of a table's line."""
    return text.split()


_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_SAME = {
    "no solutions": "no solution", "no real solutions": "no real solution",
    "there is no solution": "no solution", "there are no solutions": "no solution",
    "dne": "does not exist", "doesn't exist": "does not exist", "do not exist": "does not exist",
    "all reals": "all real numbers", "all real number": "all real numbers",
    "every real number": "all real numbers", "any real number": "all real numbers",
    "empty set": "no solution", "cannot determine": "cannot be determined",
    "can not be determined": "cannot be determined", "none of these": "none of above",
}  # fmt: skip
SHORT = frozenset(
    words(
        "no yes odd one two six ten red all any dne up won can sun mon tue wed thu fri sat he she "
        "it cat dog day man men boy son car bus"
    )
)
ENGLISH = frozenset(words("by of to is as so if at on an the are for per not but no than with"))
_SMALL = {
    name: at
    for at, name in enumerate(
        words(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
            "fifteen sixteen seventeen eighteen nineteen"
        )
    )
}
_TENS = {
    name: 10 * at
    for at, name in enumerate(words("twenty thirty forty fifty sixty seventy eighty ninety"), 2)
}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4,
    "fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8,
    "tenth": 10, "tenths": 10,
}  # fmt: skip
_LARGE = {"thousand": 1000, "million": 10**6, "billion": 10**9}


def phrase(text: str) -> str:
    """Words in lower case without articles and punctuation, and one form for a few that are equal.

    >>> phrase("No solutions."), phrase("an Ellipse")
    ('no solution', 'ellipse')
    """
    words = " ".join(_ARTICLES.sub(" ", re.sub(r"[^\w' ]", " ", text.lower())).split())
    return _SAME.get(words, words) or text.lower()


def spoken(words: str) -> Fraction | None:
    """The number that words say, or None.

    >>> spoken("twenty one"), spoken("three quarters"), spoken("ellipse")
    (Fraction(21, 1), Fraction(3, 4), None)
    """
    parts = [part for part in words.split() if part != "and"]
    if parts[:1] in (["minus"], ["negative"]):
        found = spoken(" ".join(parts[1:]))
        return None if found is None else -found
    if parts in (["half"], ["dozen"]):
        return Fraction(1, 2) if parts == ["half"] else Fraction(12)
    if len(parts) == 2 and parts[1] in _PARTS and parts[0] in _SMALL:
        return Fraction(_SMALL[parts[0]], _PARTS[parts[1]])
    total, group = 0, None
    for part in parts:
        if part in _SMALL and (group is None or group % 100 in _TENS.values() or not group % 100):
            group = (group or 0) + _SMALL[part]
        elif part in _TENS and (group is None or not group % 100):
            group = (group or 0) + _TENS[part]
        elif part == "hundred" and group is not None and group < 10:
            group *= 100
        elif part in _LARGE and group is not None:
            total, group = total + group * _LARGE[part], None
        else:
            return None
    return Fraction(total + (group or 0)) if parts and (group is not None or total) else None


def numeric(words: str) -> bool:
    """Whether words have a number among them."""
    known = {*_SMALL, *_TENS, *_PARTS, *_LARGE, "hundred", "dozen"}
    return not known.isdisjoint(words.split())


def similar(left: str, right: str) -> bool:
    """Whether two different phrases may still say the same, as far as their words show."""
    if {left, right} in ({"yes", "true"}, {"no", "false"}):
        return True
    single = " " not in left and " " not in right
    if not single:
        return True
    shorter, longer = sorted((left, right), key=len)
    return len(shorter) > 2 and longer.startswith(shorter)
