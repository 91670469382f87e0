"""Which questions may only measure: the rule for made and for loaded problems, and the text key.

The one place that says when two questions are the same, and the one rule that keeps problems out of
training. It looks at a problem alone, so no seed can leak one; knows no domain's text.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resources.tasks.problem import Problem

DEEPEST_TRAINED = 6
HELD_OUT_SHARE = 5  # one composition in five is never trained on


def text_key(question: str) -> str:
    """The text that two equal questions share, whatever their case, spacing and width.

    >>> text_key("  What is  3+4? "), text_key("what IS 3+4?")
    ('what is 3+4?', 'what is 3+4?')
    """
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())


def first_places(questions: Iterable[str]) -> dict[str, int]:
    """By text key, where the first question with it stands.

    >>> first_places(["One?", "two?", "ONE?"])
    {'one?': 0, 'two?': 1}
    """
    found: dict[str, int] = {}
    for place, question in enumerate(questions):
        found.setdefault(text_key(question), place)
    return found


def asked_again(questions: Iterable[str], held_out: Iterable[str]) -> int:
    """How many of the questions are also held out.

    >>> asked_again(["One?", "two?"], ["TWO?", "three?"])
    1
    """
    known = first_places(held_out)
    return sum(text_key(question) in known for question in questions)


def is_held_out(problem: Problem) -> bool:
    """True when the problem may only be used for measurement.

    Held out are: every problem deeper than `DEEPEST_TRAINED`; one composition in
    `HELD_OUT_SHARE`; and, at depth 1 where there are too few compositions, one question in
    `HELD_OUT_SHARE`.
    """
    if problem.depth > DEEPEST_TRAINED:
        return True
    name = problem.question if problem.depth == 1 else problem.composition
    return _kept_apart(f"{problem.domain}|{name}")


def is_held_out_row(row: Mapping[str, object]) -> bool:
    """The same rule for loaded rows, which have no composition but their own text."""
    return _kept_apart(f"{row['domain']}|{row['question']}")


def _kept_apart(text: str) -> bool:
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_SHARE == 0
