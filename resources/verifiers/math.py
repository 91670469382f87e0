"""Math answers: whether an answer says what is expected, says something else, or cannot be read.

Exact text first, then exact values and their units, lists, intervals, equations; computer algebra
in a process of its own only where values at points do not tell. Nothing is dropped: an answer with
a part that is not understood is `unknown`, and the evidence names that part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from resources.verifiers.answers import final
from resources.verifiers.answers.comparison import agreement
from resources.verifiers.answers.comparison.identities import Outcome
from resources.verifiers.answers.notation.phrases import phrase, similar, spoken
from resources.verifiers.answers.notation.spelling import spelled
from resources.verifiers.answers.notation.tree import Unread, names
from resources.verifiers.answers.readings import Reading, readings
from resources.verifiers.answers.shapes import Quantity, Text
from resources.verifiers.verdict import Value, Verdict, shorten

FAILED = "judging failed"  # evidence of a fault here, never of an answer
_LONGEST = 2_000  # characters of an answer
_WORDS = 8  # of an expected answer in words: nobody says a longer one the same way
_WRAPPERS = re.compile(r"\\(?:text|mathrm|textbf|textrm|mbox|operatorname)\s*\{([^{}]*)\}")
_LOOSE = re.compile(r" (?![\w.])|(?<![\w.]) ")
_WHOLE = re.compile(r"-?\d{1,100}")
_WORD = re.compile(r"[A-Za-z]{3,40}")
_VERDICTS: dict[bool | None, Value] = {True: "correct", False: "incorrect", None: "unknown"}
_LISTED = re.compile(r"(\d) ?, +(?=\d{3}(?!\d))")  # not a thousands separator
_SCRIPT = re.compile(r"([\^_])\{(\w)\}")


def verify(answer: str, expected: str) -> Verdict:
    """Whether `answer` says what `expected` says; strings of LaTeX or plain text.

    What the last boxes hold counts; without one, what follows `####`, or "the answer is", else the
    last formula, else all of it. Without an expected answer that can be read, all is unknown.

    >>> verify(r"so it is \\boxed{\\frac{1}{2}}", "0.5").verdict
    'correct'
    >>> verify("1/2^99", "1/2^98").verdict, verify("1+2+\\\\cdots+100", "5050").verdict
    ('incorrect', 'unknown')
    """
    theirs = _expected(expected)
    found = final.stated(answer)
    got, want = found.text, theirs.text
    if not want:
        return Verdict("unknown", f"the expected answer is not understood: {theirs.why}")
    if not got:
        none: Value = "incorrect" if found.marked else "unknown"
        return Verdict(none, f"no answer in {shorten(answer[-160:])!r}")
    pair = f"{shorten(got)} against {shorten(want)}"
    if plain(got) == plain(want) and not theirs.scattered:
        return Verdict("correct", f"{shorten(got)} is the expected text")
    if found.marked and not theirs.scattered:
        verdict = _whole_or_word(got, want)
        if verdict is not None:
            return verdict
    if theirs.reading is None:
        why = f"the expected answer is not understood: {theirs.why}"
        return Verdict("unknown", f"{pair}: {why}")
    outcome = _outcome(got, theirs.reading)
    if outcome.equal is False and not found.marked:
        return Verdict("unknown", f"{pair}: {outcome.why}, but nothing marks it as the answer")
    return Verdict(_VERDICTS[outcome.equal], f"{pair}: {outcome.why}")


def _outcome(got: str, theirs: Reading) -> Outcome:
    try:
        return _agree(_read(got), theirs)
    except Unread as error:
        return Outcome(None, f"the answer is not understood: {error}")
    except Exception as error:  # whatever a model writes, its row costs no other one its verdict
        return Outcome(None, f"{FAILED} ({type(error).__name__}: {error})")


def _whole_or_word(got: str, want: str) -> Verdict | None:
    """The verdict on two whole numbers or two single words, the commonest answers; else None."""
    if _WHOLE.fullmatch(got) and _WHOLE.fullmatch(want):
        if int(got) == int(want):
            return Verdict("correct", f"{got} has the value of {want}")
        return Verdict("incorrect", f"{got} is not the value {want}")
    if _WORD.fullmatch(got) and _WORD.fullmatch(want):
        words = phrase(got), phrase(want)
        unlike = sorted(words[0]) != sorted(words[1]) and not similar(*words)
        if unlike and not any(map(spoken, words)):
            return Verdict("incorrect", f"{got} is not {want}")
    return None


def readable(expected: str) -> bool:
    """Whether answers can be compared with an expected one by more than its very text.

    >>> readable(r"\\frac{1}{2}"), readable("1+2+\\\\cdots+n"), readable("")
    (True, False, False)
    """
    return why_unreadable(expected) is None


def why_unreadable(expected: str) -> str | None:
    """What of an expected answer is not understood, or None for one that can be compared with."""
    found = _expected(expected)
    if found.reading is None:
        return found.why
    shape = found.reading.shape
    if isinstance(shape, Text) and shape.words.count(" ") >= _WORDS:
        return f"words, more than {_WORDS}: only the very same would be equal"
    outcome = _outcome(found.text, found.reading)
    return None if outcome.equal else outcome.why


def plain(text: str) -> str:
    """The text without what is surely layout: for comparing texts as texts.

    >>> plain(r"$\\left( \\dfrac{1}{2},\\, x^{2} \\right)$.")
    '(\\\\frac{1}{2},x^2)'
    >>> plain(r"10 \\text{ m}") == plain("10 m"), plain("1, 234") == plain("1,234")
    (True, False)
    """
    text = _LISTED.sub(r"\1;", spelled(_WRAPPERS.sub(r" \1 ", text)))
    return _SCRIPT.sub(r"\1\2", _LOOSE.sub("", text))


@dataclass(frozen=True)
class _Expected:
    """An expected answer: its text, its reading, or why there is none."""

    text: str
    scattered: bool
    reading: Reading | None = None
    why: str = ""


@lru_cache(maxsize=4096)
def _expected(expected: str) -> _Expected:
    text, scattered = final.stated(expected).text, final.scattered(expected)
    if not spelled(text):
        why = "no answer is marked in it" if spelled(expected[:1000]) else "it is empty"
        return _Expected("", scattered, why=why)
    if scattered:
        return _Expected(text, True, why="several boxes, and which of them is the answer")
    try:
        return _Expected(text, False, _read(text))
    except Unread as error:
        return _Expected(text, False, why=str(error))
    except Exception as error:  # as of an answer
        return _Expected(text, False, why=f"{FAILED} ({type(error).__name__}: {error})")


def _read(text: str) -> Reading:
    if len(text) > _LONGEST:
        raise Unread(f"more than {_LONGEST} characters")
    return readings(spelled(text))


def _agree(mine: Reading, theirs: Reading) -> Outcome:
    """The outcome of all readings of two answers: what has two must agree in both."""
    outcome = agreement.compare(mine.shape, theirs.shape)
    if "letter_is_unit" in mine.styles | theirs.styles and not _varies(mine, theirs):
        outcome = agreement.compare(mine.styled("letter_is_unit"), theirs.styled("letter_is_unit"))
        return outcome  # ten times m is no number
    for style in mine.styles | theirs.styles:
        other = agreement.compare(mine.styled(style), theirs.styled(style))
        if other.equal is not outcome.equal:
            return Outcome(None, f"{_TWO_WAYS[style]}: two readings, one equal and one not")
    if outcome.equal is not False:
        return outcome
    for kind, a, b in mine.by_commas(theirs):
        if agreement.compare(a, b).equal:
            decimal = kind == "the answer's" and theirs.decimal and mine.decimal_comma
            why = "a decimal comma" if decimal else f"equal if {kind} commas are read otherwise"
            return Outcome(True if decimal else None, why)
    return outcome


def _varies(mine: Reading, theirs: Reading) -> bool:
    """Whether an answer has a variable in it, apart from a letter that may be a unit."""
    shapes = (mine.styled("letter_is_unit"), theirs.styled("letter_is_unit"))
    return any(not isinstance(each, Quantity) or names(each.tree) for each in shapes)


_TWO_WAYS = {
    "slash_binds": "what stands after a slash",
    "log_is_decimal": "a log without base",
    "letter_is_unit": "a letter after a number",
}
