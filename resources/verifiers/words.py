"""Split English text into sentences and words without any downloaded model.

Stands in for NLTK's Punkt and Treebank tokenizers, which IFEval uses and which fetch data at run
time. Known difference: Punkt's learned abbreviations are a fixed list here.
"""

import re

_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof rev gen col capt lt sgt sen rep gov hon st jr sr mt vs etc inc ltd co corp "
    "dept est approx fig no vol pp ed al e.g i.e cf a.m p.m u.s u.k u.n d.c ph.d b.a m.a jan feb "
    "mar apr jun jul aug sep sept oct nov dec".split()
)
_END = re.compile(r"(?:\.{2,}|[.?!]+|…)[\"')\]}»”’*]*(?=\s|$)")
_WORD_BEFORE = re.compile(r"[\w.'-]*$")
_NEAR = 64  # characters looked at on either side of a full stop
_CLOSERS = "\"')]}»”’*"
_SPLITS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[“”]|\"|''|``", ' " '),
        (r"([:,])(?=\D|$)", r" \1 "),
        (r"\.{2,}|…", " ... "),
        (r"[;@#$%&?!\[\](){}<>]", r" \g<0> "),
        (r"--", " -- "),
        (r"(?<=\w)(n't)\b|(?<=\w)(N'T)\b", r" \g<0>"),
        (r"(?<=\w)['’](?:s|m|d|ll|re|ve|S|M|D|LL|RE|VE)\b", r" \g<0>"),
        (r"(?<=\w)'(?=\s|$)", " '"),
    )
)


def sentences(text: str) -> list[str]:
    """The sentences of `text`, stripped; a line break alone ends none.

    A sentence ends at `.`, `?`, `!` or an ellipsis before white space, unless the full stop belongs
    to an abbreviation or an initial, or the next word starts in lower case after a full stop.

    >>> sentences("Dr. Who left at 3.5 km. Why? No idea!")
    ['Dr. Who left at 3.5 km.', 'Why?', 'No idea!']
    """
    parts, start = [], 0
    for end in _END.finditer(text):
        if _breaks(text, end):
            parts.append(text[start : end.end()])
            start = end.end()
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _breaks(text: str, end: re.Match[str]) -> bool:
    mark = end.group().rstrip(_CLOSERS)
    if mark not in (".", "...", "…") and not set(mark) == {"."}:
        return True
    following = text[end.end() : end.end() + _NEAR].lstrip().lstrip("\"'([{«“‘*")
    if following[:1].islower() or following[:1] in (",", ";", ":"):
        return False
    if mark != ".":
        return True
    near = text[max(0, end.start() - _NEAR) : end.start()]
    before = _WORD_BEFORE.search(near)
    word = before.group() if before else ""
    line = near[: len(near) - len(word)].rpartition("\n")[2]
    if word.isdigit() and not line.strip():
        return False  # the number of a list item: "1. First"
    single_capital = len(word) == 1 and word.isupper() and word != "I"
    return not (word.lower() in _ABBREVIATIONS or single_capital)


def tokens(text: str) -> list[str]:
    """The words and marks of `text`: punctuation and clitics split off, hyphens and inner full
    stops kept.

    >>> tokens("Well-made, isn't it? (NASA's U.S. plan.)")
    ['Well-made', ',', 'is', "n't", 'it', '?', '(', 'NASA', "'s", 'U.S.', 'plan', '.', ')']
    """
    found: list[str] = []
    for sentence in sentences(text):
        spaced = sentence
        for pattern, replacement in _SPLITS:
            spaced = pattern.sub(replacement, spaced)
        spaced = re.sub(r"(?<=[^.\s])\.(?=[\s\"')\]}>»”’]*$)", " .", spaced)
        found += spaced.split()
    return found
