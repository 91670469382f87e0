"""What kind of math problem a text is: with an answer, or a proof, a choice, yes or no, invalid.

Decided by exact rules, which say what they saw; where none decides, or two speak against each
other, the kind is unknown: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from resources.verifiers import choice, math

Kind = Literal["proof", "choice", "binary", "invalid", "answer", "unknown"]
Found = tuple[Kind, str]

_IMAGE = re.compile(
    r"!\[[^\]]*\]\([^)]*\)|<img\b|\\includegraphics|https?://\S+\.(?:png|jpe?g|gif|svg|webp)\b",
    re.IGNORECASE,
)
_PROOF = re.compile(
    r"(?:^|[.!?:;)]\s+|\n\s*|\bthen |\band |\bplease |\bto )(prove\b|disprove\b|"
    r"(?:show|demonstrate|establish|verify|justify|deduce) that\b|(?:give|write) a proof\b)",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\b(?:find|compute|calculate|determine|evaluate|what|how|which|solve|simplify|express|factor|"
    r"estimate|who|whose|where|when|list|enter|round|convert|expand|give|work out|write|complete|"
    r"rationalize|graph|sketch|let .{0,200} be the|for some)\b",
    re.IGNORECASE,
)
_SAID = {"yes", "no", "true", "false"}
_YES_OR_NO = re.compile(
    r"(?:is|are|was|were|does|do|did|can|could|will|would|has|have|must|should|true or false)\b",
    re.IGNORECASE,
)
_WHAT = re.compile(r"\b(?:what|how|which|who|whose|where|when|why)\b", re.IGNORECASE)
_VALUE = re.compile(r"\d|\\[a-z]|^\W*[A-Za-z]\W*$")  # in an answer that is no word
_DRAWING = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
# How options are marked, with the least number of them that is no coincidence.
_MARKED: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"\(([A-J])\)"), 3),
    (re.compile(r"(?:^|[\s,;{$])([A-J])\)(?=\s*\S)"), 3),
    (re.compile(r"^\s*([A-J])[.:]\s*(?=\S)", re.MULTILINE), 3),
    (re.compile(r"(?:^|\s)([A-J])[.:]\s+(?=\S)"), 4),
    (re.compile(r"(?:^|\s)([A-J])=(?=\S)"), 4),
)


def kind(question: str, expected_answer: str = "") -> Found:
    """The kind of a problem and what shows it; `answer` where it asks for one to be found.

    >>> kind("Prove that there are infinitely many primes.")
    ('proof', "asks for a proof: 'Prove'")
    >>> kind("Find x, and prove that it is the only one.", "3")
    ('unknown', "asks for a proof, 'prove', and for an answer")
    >>> kind("How many? (A) 1 (B) 2 (C) 3", "B")
    ('choice', 'has the options A to C')
    >>> kind("Is 7 prime?", "Yes."), kind("How many are 2 and 2?", "4")
    (('binary', "its answer is 'Yes.'"), ('answer', 'asks for an answer'))
    """
    for rule in (_invalid, _choice, _proof, _binary):
        found = rule(question, expected_answer)
        if found is not None:
            return found
    if not _ASKS.search(question) and "?" not in question:
        return "unknown", "nothing in it says what is asked"
    return "answer", "asks for an answer"


def _invalid(question: str, expected_answer: str) -> Found | None:
    image = _IMAGE.search(question)
    if image is not None:
        return "invalid", f"its image is not in it: {image[0][:60]!r}"
    if not re.search(r"\w", question):
        return "invalid", "has neither a letter nor a digit"
    return None


def _proof(question: str, expected_answer: str) -> Found | None:
    asked = _PROOF.search(question)
    if asked is None:
        return None
    if _ASKS.search(question):
        return "unknown", f"asks for a proof, {asked[1]!r}, and for an answer"
    if _VALUE.search(expected_answer) and math.readable(expected_answer):
        return "unknown", f"asks for a proof, {asked[1]!r}, and has the answer {expected_answer!r}"
    return "proof", f"asks for a proof: {asked[1]!r}"


def _choice(question: str, expected_answer: str) -> Found | None:
    text = _DRAWING.sub(" ", question)
    for pattern, least in _MARKED:
        labels = "".join(_in_a_row([found[1] for found in pattern.finditer(text)]))
        if len(labels) >= least and _among(labels, text, expected_answer):
            return "choice", f"has the options A to {labels[-1]}"
    return None


def _among(labels: str, text: str, expected_answer: str) -> bool:
    """Whether the answer is one of the options, or not known."""
    letter = choice.letter(expected_answer)
    if not expected_answer or (letter is not None and letter in labels):
        return True
    return math.plain(expected_answer) in math.plain(text)


def _in_a_row(labels: list[str]) -> Iterator[str]:
    """The labels from the last A on, as long as each follows the one before."""
    if "A" not in labels:
        return
    start = len(labels) - 1 - labels[::-1].index("A")
    for place, label in enumerate(labels[start:]):
        if label != chr(ord("A") + place):
            return
        yield label


def _binary(question: str, expected_answer: str) -> Found | None:
    if expected_answer:
        said = re.sub(r"\\text\{([^{}]*)\}|[\s.$*]+", r"\1", expected_answer).lower()
        return ("binary", f"its answer is {expected_answer!r}") if said in _SAID else None
    *others, asked = (each.strip() for each in _SENTENCE.split(question.strip()))
    if not asked.endswith("?") or not _YES_OR_NO.match(asked) or _WHAT.search(asked):
        return None
    if any("?" in each or _ASKS.match(each) for each in others):
        return None
    if re.search(r"\bor\b", asked) and not asked.lower().startswith("true or false"):
        return "unknown", f"asks which of two, or whether either: {asked[:60]!r}"
    return "binary", f"asks whether: {asked[:60]!r}"
