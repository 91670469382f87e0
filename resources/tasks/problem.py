"""One generated problem, and the rule that keeps held-out problems out of training.

Knows how a problem is split by composition and depth; does not know any domain's text.
"""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

DEPTHS = range(1, 9)
DEEPEST_TRAINED = 6
HELD_OUT_SHARE = 5  # one composition in five is never trained on


@dataclass(frozen=True)
class Problem:
    """A question with its ground truth and a worked solution.

    `thinking` and `answer` are the worked solution: they teach the bundled parents and never
    stand in a problem table. `composition` names how the problem is put together, without its
    numbers (the operator sequence, the path through a graph, the set of constraints).
    """

    domain: str
    kind: str
    depth: int
    question: str
    expected_answer: str
    composition: str
    thinking: str
    answer: str
    subject: str = ""
    subtopic: str = ""
    tests: str = ""
    metadata: dict[str, object] = field(default_factory=dict)


def _bucket(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def normalise(question: str) -> str:
    """The text that two equal questions share, whatever their case, spacing and width.

    >>> normalise("  What is  3+4? "), normalise("what IS 3+4?")
    ('what is 3+4?', 'what is 3+4?')
    """
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())


def is_held_out(problem: Problem) -> bool:
    """True when the problem may only be used for measurement.

    Held out are: every problem deeper than `DEEPEST_TRAINED`; one composition in
    `HELD_OUT_SHARE`; and, at depth 1 where there are too few compositions, one question in
    `HELD_OUT_SHARE`. The rule looks at the problem alone, so no seed can leak one into training.
    """
    if problem.depth > DEEPEST_TRAINED:
        return True
    name = problem.question if problem.depth == 1 else problem.composition
    return _bucket(f"{problem.domain}|{name}") % HELD_OUT_SHARE == 0


def is_held_out_row(row: Mapping[str, object]) -> bool:
    """The same rule for loaded rows, which have no composition but their own text."""
    return _bucket(f"{row['domain']}|{row['question']}") % HELD_OUT_SHARE == 0
