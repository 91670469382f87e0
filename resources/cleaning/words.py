"""A text as the words that comparisons count: in languages without spaces, as its characters.

Knows no comparison; decontamination and deduplication both cut texts here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Scripts that are written without spaces, and how many of their characters are about a word.
_PAIRS = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"  # Chinese and Japanese
)
_FOURS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
_SIGNS = r"[-+*/^=<>%|&~]"
_WORD = re.compile(rf"\w+|{_SIGNS}")
_UNSPACED = re.compile(rf"[{_PAIRS}{_FOURS}]")
_OF_PAIRS = re.compile(rf"[{_PAIRS}]")
_CHARACTER_OR_WORD = re.compile(rf"[{_PAIRS}{_FOURS}]|[^\W{_PAIRS}{_FOURS}]+|{_SIGNS}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def words(text: str) -> list[str]:
    """Words and operators of a text, without punctuation; characters of scripts without spaces.

    >>> words("Ann's sum: (3 + 4) * x.")
    ['ann', 's', 'sum', '3', '+', '4', '*', 'x']
    >>> words("3\u4e2a\u82f9\u679c, apple")
    ['3', '\u4e2a', '\u82f9', '\u679c', 'apple']
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    spaced = plain.isascii() or _UNSPACED.search(plain) is None
    return (_WORD if spaced else _CHARACTER_OR_WORD).findall(plain)


def reach(spoken: Sequence[str]) -> int:
    """How many of a text's `words` are about one word, rounded: 1 where words are spaced.

    A run of n words of another language has n times as many characters in this one.

    >>> reach(words("two plus two")), reach(words("\u5c0f\u660e\u6709\u4e09\u4e2a\u82f9\u679c"))
    (1, 2)
    """
    weight = sum(map(_weight, spoken))
    return round(len(spoken) / weight) if weight else 1


def numbers(text: str) -> str:
    """The numbers of a text in their order: with others it is another problem.

    >>> numbers("Ann has 3 apples and 1,200 pears"), numbers("Ann has three")
    ('3 1,200', '')
    """
    return " ".join(_NUMBER.findall(text))


def _weight(word: str) -> float:
    if word.isascii() or _UNSPACED.match(word) is None:
        return 1.0
    return 0.5 if _OF_PAIRS.match(word) else 0.25
