"""Multiple choice: compare the letter in the answer's last `\\boxed{}` with the expected one."""

import re

from resources.verifiers import boxed
from resources.verifiers.verdict import Verdict, shorten

_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mathit|rm|bf)\s*\{([^{}]*)\}")
_LETTER = re.compile(r"^\(?\s*([A-Za-z])\s*(?:$|[).:](?=\s|$).*)", re.DOTALL)


def letter(text: str) -> str | None:
    """The capital letter that `text` chooses, or None. Without a box, all of `text` is read.

    >>> letter(r"The rest is wrong, so \\boxed{\\text{(b)}}")
    'B'
    >>> letter("C. the cat"), letter("A cat")
    ('C', None)
    """
    content = boxed.last(text)
    if content is None:
        content = text
    content = _WRAPPED.sub(r"\1", content.strip()).strip().strip("$").strip()
    found = _LETTER.match(content)
    return found.group(1).upper() if found else None


def verify(answer: str, expected: str) -> Verdict:
    """Compare the letter chosen in `answer` with `expected` (a letter, boxed or plain).

    Raises ValueError when `expected` itself holds no letter.

    >>> verify(r"\\boxed{B}", "B").verdict
    'correct'
    """
    want = letter(expected)
    if want is None:
        raise ValueError(f"expected answer {shorten(expected)!r} is not a choice letter such as B")
    got = letter(answer)
    if got is None:
        return Verdict("incorrect", f"no \\boxed letter in {shorten(answer[-160:])!r}")
    return Verdict("correct" if got == want else "incorrect", f"chose {got}, expected {want}")
