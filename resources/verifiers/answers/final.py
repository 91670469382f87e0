"""Where in a text its final answer stands: in boxes, after `####`, after "the answer is".

Gives the answer as it was written, and whether the text says that it is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from resources.verifiers import boxed

_SHORT = 400  # characters of a text that may be an answer as a whole
_MARK = re.compile(r"^\s*####\s*(\S.*?)\s*$", re.MULTILINE)
_SAID = re.compile(
    r"\b(?:answer|result|solution)\b\**\s*(?:is|are|:|=)[:\s]*\**\s*(?=\S)", re.IGNORECASE
)
_SPAN = re.compile(
    r"\$\$(.+?)\$\$|(?<!\\)\$(?!\s*\d[\d,.]*\s*(?:[a-z]|$))(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]",
    re.DOTALL,
)
_PERCENT = re.compile(r"\s*(?:\\\)|\\\]|\$)*\s*(?:\\?%|percent(?:age)?\b|pct\b)", re.IGNORECASE)
_SENTENCE = re.compile(r"[.!?](?=\s+[A-Z(\[<]|\s*$)|\n")
_IS = re.compile(r"^(?:the|its|our|this)\b.*\b(?:is|are)\s+(?=\S)", re.IGNORECASE)
_CLAIM = re.compile(r".*\b(?:is|are|equals|it's)\s+(?=\S)", re.IGNORECASE | re.DOTALL)
_DENIED = re.compile(r"\b(?:not|never|no)\b|n't\b", re.IGNORECASE)
_TURN = re.compile(r"<\|[a-z_]+\|>.*", re.DOTALL)
_PROSE = re.compile(r"(?:[A-Za-z']{2,}[,:;]? +){3}")
_CONNECTING = re.compile(r"\s*(?:,\s*)?(?:and\b|or\b)?\s*")
_AGAIN = re.compile(
    r"\b(?:final answer\**\s*(?:is|:)|answer is)[:\s]*\**\s*[$\\\d-]", re.IGNORECASE
)
_SINGLE = re.compile(r"(?<!\\)\\(?!n)[a-zA-Z]")  # \n may stand for a lines end
_DOUBLE = re.compile(r"\\\\[a-zA-Z]{2}")


@dataclass(frozen=True)
class Stated:
    """`text`: the answer as written, "" where there is none; `marked`: the text says it is one."""

    text: str
    marked: bool = True


def stated(text: str) -> Stated:
    """The final answer that a text states.

    >>> stated(r"so \\boxed{28} percent").text, stated("9 * 2 = 18\\n#### 18").text
    ('28%', '18')
    >>> stated("The answer is $5$.").text
    '5'
    """
    text = _unescaped(text)
    boxes = boxed.together(text)
    if boxes:
        rest = boxed.after(text)
        percent = _PERCENT.match(rest) and "%" not in boxes[-1]
        return Stated("; ".join(boxes) + ("%" if percent else ""), not _says_more(rest))
    marked = _MARK.findall(text)
    if marked:
        return Stated(str(marked[-1]))
    text = _TURN.sub("", text).strip()
    said = list(_SAID.finditer(text))
    if said:
        return Stated(_of_sentence(text[said[-1].end() :]))
    if not _PROSE.search(text) and len(text) <= _SHORT:
        spans = list(_SPAN.finditer(text))
        return Stated(_last_of(text, spans) if _beside_words(text, spans) else text)
    return _of_prose(text)


def scattered(text: str) -> bool:
    """Whether a text has boxes of other contents apart from those of its final answer."""
    text = _unescaped(text)
    return bool(set(boxed.every(text)) - set(boxed.together(text)))


def _unescaped(text: str) -> str:
    """A text whose every LaTeX command is escaped twice, as JSON in JSON leaves it, once."""
    if _SINGLE.search(text) or not _DOUBLE.search(text):
        return text
    return text.replace("\\\\", "\\")


def _says_more(rest: str) -> bool:
    """Whether an answer is stated once more after the last box."""
    return _AGAIN.search(rest) is not None


def _of_sentence(rest: str) -> str:
    """The answer in what follows "the answer is"."""
    rest = rest.lstrip("} ")  # of \\text{The answer is }
    span = _SPAN.match(rest)
    if span is not None:
        following = rest[span.end() :].lstrip()
        if not following.startswith((",", "and ", "or ")):
            return _with_percent(rest, span)
    sentence = _SENTENCE.split(rest, maxsplit=1)[0].strip()
    named = _IS.match(sentence)
    return sentence[named.end() :] if named else sentence


def _of_prose(text: str) -> Stated:
    """The last formula of sentences, or what their last one says that something is."""
    spans = list(_SPAN.finditer(text))
    short = len(text) <= _SHORT
    if spans:
        return Stated(_last_of(text, spans), short)
    sentences = [part for part in _SENTENCE.split(text) if part.strip()]
    claim = _CLAIM.match(sentences[-1]) if sentences else None
    if claim is not None and not _DENIED.search(sentences[-1]):
        return Stated(sentences[-1][claim.end() :].strip(), False)
    return Stated(text if short else "", short)


def _last_of(text: str, spans: list[re.Match[str]]) -> str:
    """The last formula, with those before it that only "," or "and" divides from it."""
    first = len(spans) - 1
    while first and _CONNECTING.fullmatch(text[spans[first - 1].end() : spans[first].start()]):
        first -= 1
    if first == len(spans) - 1:
        return _with_percent(text, spans[-1])
    return text[spans[first].start() : spans[-1].end()]


def _with_percent(text: str, span: re.Match[str]) -> str:
    inside = next(filter(None, span.groups())).strip()
    return inside + ("%" if _PERCENT.match(text[span.end() :]) and "%" not in inside else "")


def _beside_words(text: str, spans: list[re.Match[str]]) -> bool:
    """Whether words stand beside formulas, other than those of a list: $1$ and $2$."""
    rest = _SPAN.sub(" ", text)
    return bool(spans) and re.fullmatch(r"(?:[\s,;.]|and|or|\\?%|percent|pct)*", rest) is None
