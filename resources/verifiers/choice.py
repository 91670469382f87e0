"""Multiple choice: compare the option that an answer names with the expected one.

An answer names it in its last `\\boxed{}`, or as a whole, in any usual spelling: a letter or
number with or without brackets and emphasis, `Option B`, `The answer is (b)`, true or false.
"""

import re
import unicodedata
from typing import Any

from resources.tasks import options
from resources.verifiers import boxed
from resources.verifiers.verdict import Verdict, shorten

_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mathit|rm|bf|boldsymbol)\s*\{([^{}]*)\}")
_BARE = re.compile(r"\\(?:rm|bf|mathrm|mathbf)\s+(?=\w)")
_MARKS = re.compile(r"[*_`$]+|\\[()\[\],;!]|^[\"'\s]+|[\"'\s]+$")
_SAID = re.compile(
    r"^(?:so |thus |therefore,? )?(?:the )?(?:(?:correct|right|best|final) )*"
    r"(?:(?:answer|option|choice)\b\s*)(?:is\b|:|=)?\s*(?:(?:option|choice)\b\s*)?[:\s]*",
    re.IGNORECASE,
)
_LETTER = re.compile(r"^[(\[{]?\s*([A-Za-z])\s*(?:$|[)\].:}]+(?=\s|$).*)", re.DOTALL)
_NUMBER = re.compile(r"^[(\[{]?\s*(\d{1,3})\s*(?:$|[)\].:}]+(?=\s|$).*)", re.DOTALL)
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}


def letter(text: str) -> str | None:
    """The capital letter that `text` chooses, or None. Without a box, all of `text` is read.

    >>> letter(r"The rest is wrong, so \\boxed{\\text{(b)}}")
    'B'
    >>> letter("C. the cat"), letter("A cat"), letter("The answer is **(d)**.")
    ('C', None, 'D')
    """
    found = _LETTER.match(_content(text))
    return found.group(1).upper() if found else None


def label(text: str) -> str | None:
    """The letter, number or truth value that `text` chooses: "B", "3", "true"; or None.

    >>> label("Option 3"), label(r"\\boxed{Yes}"), label("An apple")
    ('3', 'true', None)
    """
    content = _content(text)
    for pattern in (_LETTER, _NUMBER):
        found = pattern.match(content)
        if found:
            return found.group(1).upper()
    truth = _TRUTHS.get(content.rstrip(".").lower())
    return None if truth is None else str(truth).lower()


def verify(answer: str, expected: str, choices: Any = None) -> Verdict:
    """Compare the option chosen in `answer` with `expected` (a label, boxed or plain).

    `choices` are the options in any shape that `options.read` takes: with them the answer may also
    be an option's own text, and `expected` its label, text or index. An `expected` that names none
    is `unknown`.

    >>> verify(r"\\boxed{B}", "B").verdict
    'correct'
    >>> verify(r"\\boxed{Paris}", "B", ["Rome", "Paris"]).evidence
    'chose B, expected B'
    """
    offered = None
    try:
        if choices is not None:
            offered = options.read(choices)
            want: str | None = offered.letters[offered.index(_meant(expected))]
        else:
            want = label(expected)
    except ValueError as error:
        return Verdict("unknown", f"cannot be judged: {error}")
    if want is None:
        shown = shorten(expected)
        return Verdict("unknown", f"expected answer {shown!r} is not a choice letter such as B")
    got = label(answer) if offered is None else _among(answer, offered)
    if got is None:
        return Verdict("incorrect", f"no \\boxed letter in {shorten(answer[-160:])!r}")
    return Verdict("correct" if got == want else "incorrect", f"chose {got}, expected {want}")


def _among(answer: str, offered: options.Options) -> str | None:
    """The letter of the option that an answer names, by its label or by its text."""
    chosen = label(answer)
    for named in (offered.labels or (), offered.letters):
        upper = [each.upper() for each in named]
        if chosen is not None and chosen.upper() in upper:
            return offered.letters[upper.index(chosen.upper())]
    content = _plain(_content(answer))
    same = [i for i, text in enumerate(offered.texts) if _plain(text) == content]
    return offered.letters[same[0]] if len(same) == 1 else None


def _meant(expected: Any) -> Any:
    """The expected option's name without its box."""
    if not isinstance(expected, str):
        return expected
    content = boxed.last(expected)
    return expected.strip() if content is None else _content(expected)


def _content(text: str) -> str:
    content = boxed.last(text)
    if content is None:
        content = text
    content = unicodedata.normalize("NFKC", content).strip()
    content = _BARE.sub("", _WRAPPED.sub(r"\1", content))
    content = _MARKS.sub("", content).strip()
    return _SAID.sub("", content).strip()


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub("", text).lower().split()).rstrip(".")
