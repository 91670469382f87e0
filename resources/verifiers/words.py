"""Split English text into sentences and words without any downloaded model.

Stands in for NLTK's Punkt and Treebank tokenizers, which IFEval uses and which fetch data at run
time. Known difference: Punkt's learned abbreviations are a fixed list here.
"""

import re

_ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        """mr mrs ms dr prof rev gen col capt lt sgt sen rep gov hon st jr sr mt vs etc inc ltd co
        corp dept est approx fig no vol pp ed al e.g i.e cf a.m p.m u.s u.k u.n d.c ph.d b.a m.a
        jan feb mar apr jun jul aug sep sept oct nov dec""",
    )
)
_STARTERS = frozenset(  # in capitals after an abbreviation, these begin a sentence
    re.findall(
        r"\S+",
        """the a an and but or so if in on at as he she it they we you i this that these those there
        then however what when where my our your his her its their""",
    )
)
_ELLIPSIS = "\u2026"
_CLOSERS = "\"')]}*\u00bb\u201d\u2019"
_OPENERS = "\"'([{*\u00ab\u201c\u2018"
_CLOSING = f"[{re.escape(_CLOSERS)}]*"
_END = re.compile(rf"(?:\.{{2,}}|[.?!]+|{_ELLIPSIS}){_CLOSING}(?=\s|$)")
_FINAL_STOP = re.compile(rf"(?<=[^.\s])\.(?={_CLOSING[:-2]}\s]*$)")
_WORD_BEFORE = re.compile(r"[\w.'-]*$")
_NEAR = 64  # characters looked at on either side of a full stop
_SPLITS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[\u201c\u201d]|\"|''|``", ' " '),
        (r"([:,])(?=\D|$)", r" \1 "),
        (rf"\.{{2,}}|{_ELLIPSIS}", " ... "),
        (r"[;@#$%&?!\[\](){}<>]", r" \g<0> "),
        (r"--", " -- "),
        (r"(?<=\w)(n't)\b|(?<=\w)(N'T)\b", r" \g<0>"),
        (r"(?<=\w)['\u2019](?:s|m|d|ll|re|ve|S|M|D|LL|RE|VE)\b", r" \g<0>"),
        (r"(?<=\w)'(?=\s|$)", " '"),
    )
)


def sentences(text: str) -> list[str]:
    """The sentences of `text`, stripped; a line break alone ends none.

    A sentence ends at `.`, `?`, `!` or an ellipsis before white space, unless a full stop belongs
    to an abbreviation or an initial, or the next word starts in lower case. As in Punkt, the number
    of a list item ("1.") is a sentence.

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
    if mark != _ELLIPSIS and set(mark) != {"."}:
        return True
    following = text[end.end() : end.end() + _NEAR].lstrip().lstrip(_OPENERS)
    if following[:1].islower() or following[:1] in (",", ";", ":"):
        return False
    if mark != ".":
        return True
    near = text[max(0, end.start() - _NEAR) : end.start()]
    before = _WORD_BEFORE.search(near)
    word = before.group() if before else ""
    initial = len(word) == 1 and word.isupper() and word != "I"
    if not initial and word.lower() not in _ABBREVIATIONS:
        return True
    return following.split(None, 1)[0].lower() in _STARTERS if following.strip() else True


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
        spaced = _FINAL_STOP.sub(" .", spaced)
        found += spaced.split()
    return found
