"""Find the final answer of a response: the content of its last `\\boxed{}`, or of the last few."""

import re

_PART = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
_LAYOUT = re.compile(r"\\(?:[()\[\],;:! ]|quad|qquad)|\$|\\(?:text|mbox|mathrm)\{([^{}]*)\}|\*\*|~")
_NAMED = r"(?:[A-Za-z][A-Za-z]?(?:_\{?\w+\}?)?(?:\(\w\))? ?(?:=|\\in) ?)?"
_BETWEEN = re.compile(
    r"(?:for part \(\w\) )?"
    r"(?:(?!but|no|so|wait|then|thus|hence|not|now|actually|rather)[a-z]{2,15} )?"
    rf"(?:[,;&]|and|or)(?:[,; ]|and|or)*{_NAMED}|{_NAMED}"
)
_LONGEST_BETWEEN = 60  # characters


def last(text: str) -> str | None:
    """The content of the last closed `\\boxed{...}` with balanced braces, or None.

    >>> last(r"so \\boxed{1}, no: \\boxed{\\frac{1}{2}}")
    '\\\\frac{1}{2}'
    >>> last("no box") is None
    True
    """
    found = max(_boxes(text), key=lambda box: box[1], default=None)
    return text[slice(*found[1:])].strip() if found else None


def together(text: str) -> list[str]:
    """The contents of the last boxes that make one answer: only "," or "and" stands between them.

    >>> together(r"\\boxed{1}, maybe \\boxed{2}"), together(r"\\boxed{1} and $y = \\boxed{2}$")
    (['2'], ['1', '2'])
    """
    boxes = _outer(text)
    found: list[str] = []
    for place, (_, begin, end) in reversed(list(enumerate(boxes))):
        content = text[begin:end].strip()
        if content not in found:
            found.insert(0, content)
        if place == 0 or not _connects(text[boxes[place - 1][2] + 1 : boxes[place][0]]):
            break
    return found


def every(text: str) -> list[str]:
    """The contents of all boxes that stand in no other box, in order."""
    return [text[begin:end].strip() for _, begin, end in _outer(text)]


def after(text: str) -> str:
    """What follows the last closed box, or all of the text where there is none."""
    boxes = _outer(text)
    return text[boxes[-1][2] + 1 :] if boxes else text


def _connects(between: str) -> bool:
    if len(between) > _LONGEST_BETWEEN or "\n" in between.strip(" "):
        return False
    plain = " ".join(_LAYOUT.sub(lambda part: f" {part[1] or ''} ", between).split())
    return bool(_BETWEEN.fullmatch(plain))


def _boxes(text: str) -> list[tuple[int, int, int]]:
    """Where each closed box begins, and where its content begins and ends."""
    found: list[tuple[int, int, int]] = []
    opened: list[tuple[int, int] | None] = []  # of each open brace: the box that it opens
    for part in _PART.finditer(text):
        if part["box"]:
            opened.append((part.start(), part.end()))
        elif part["open"]:
            opened.append(None)
        elif part["close"] and opened:
            box = opened.pop()
            if box is not None:
                found.append((*box, part.start()))
    return sorted(found)


def _outer(text: str) -> list[tuple[int, int, int]]:
    outer: list[tuple[int, int, int]] = []
    for box in _boxes(text):
        if not outer or box[0] > outer[-1][2]:
            outer.append(box)
    return outer
