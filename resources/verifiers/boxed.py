"""Find the final answer of a response: the content of its last `\\boxed{}`."""

import re

_PART = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)


def last(text: str) -> str | None:
    """The content of the last closed `\\boxed{...}` with balanced braces, or None.

    >>> last(r"so \\boxed{1}, no: \\boxed{\\frac{1}{2}}")
    '\\\\frac{1}{2}'
    >>> last("no box") is None
    True
    """
    found = (-1, -1)
    opened: list[int] = []  # where the content of each open box begins; -1 for other braces
    for part in _PART.finditer(text):
        if part["box"]:
            opened.append(part.end())
        elif part["open"]:
            opened.append(-1)
        elif part["close"] and opened:
            found = max(found, (opened.pop(), part.start()))
    return text[slice(*found)].strip() if found[0] >= 0 else None
