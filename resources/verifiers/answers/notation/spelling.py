"""One spelling for what only looks different: Unicode, spacing, sizes, delimiters, fonts.

Works on strings and changes no meaning; what a string means is read from its tokens.
"""

from __future__ import annotations

import re

_CHARACTERS = {
    **dict.fromkeys("\u2212\u2013\u2014\u2010\u2011\u2012\ufe63", "-"),
    **dict.fromkeys(["\u00a0", "\u202f", "\u3000", *map(chr, range(0x2002, 0x200B))], " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    **dict.fromkeys("\u2018\u2019\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u2033", '"'),
    "\u00d7": "\\times ", "\u00f7": "\\div ", "\u00b7": "\\cdot ", "\u22c5": "\\cdot ",
    "\u2217": "\\cdot ", "\u00b1": "\\pm ", "\u2213": "\\mp ", "\u03c0": "\\pi ",
    "\u221e": "\\infty ", "\u2264": "\\le ", "\u2265": "\\ge ", "\u2a7d": "\\le ",
    "\u2a7e": "\\ge ", "\u2260": "\\ne ", "\u2248": "\\approx ", "\u2208": "\\in ",
    "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2216": "\\setminus ", "\u2205": "\\emptyset ",
    "\u211d": "\\mathbb{R}", "\u2124": "\\mathbb{Z}", "\u2115": "\\mathbb{N}",
    "\u211a": "\\mathbb{Q}", "\u2102": "\\mathbb{C}", "\u00b0": "^{\\circ}", "\u2103": "^{\\circ}C",
    "\u2109": "^{\\circ}F", "\u2044": "/", "\u2215": "/", "\u2026": "\\ldots ",
    "\u22ef": "\\cdots ",
    "\u27e8": "\\langle ", "\u27e9": "\\rangle ", "\u2329": "\\langle ", "\u232a": "\\rangle ",
    "\u2211": "\\sum ", "\u220f": "\\prod ", "\u03b1": "\\alpha ", "\u03b2": "\\beta ",
    "\u03b3": "\\gamma ", "\u03b8": "\\theta ", "\u03bb": "\\lambda ", "\u03bc": "\\mu ",
    "\u03c6": "\\phi ", "\u03d5": "\\phi ", "\u03c9": "\\omega ", "\u2212": "-",
}  # fmt: skip
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_HALVES = {
    "\u00bd": "1/2", "\u2153": "1/3", "\u2154": "2/3", "\u00bc": "1/4", "\u00be": "3/4",
    "\u2155": "1/5", "\u2156": "2/5", "\u2157": "3/5", "\u2158": "4/5", "\u2159": "1/6",
    "\u215a": "5/6", "\u215b": "1/8", "\u215c": "3/8", "\u215d": "5/8", "\u215e": "7/8",
}  # fmt: skip
_CHARACTERS |= {
    sign: "\\frac{%s}{%s}" % tuple(value.split("/"))  # noqa: UP031 - braces
    for sign, value in _HALVES.items()
}
_TABLE = str.maketrans(_CHARACTERS) | _FULL_WIDTH
_RAISED = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u207f", "0123456789-n"
)
_LOWERED = {0x2080 + digit: str(digit) for digit in range(10)}
_RAISED_RUN = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b\u207f]+")
_LOWERED_RUN = re.compile("[\u2080-\u2089]+")
_ROOT_SIGN = re.compile("\u221a\\s*(\\d+(?:\\.\\d+)?|[A-Za-z](?![A-Za-z]))?")
_COMMA = re.compile(r"(?<=\d)\s*(?:\{\s*,\s*\}\s*(?:\\!)?|,\s*\\!)\s*(?=\d{3})")
_SIZES = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits"
    r"|mathstrut|strut|hfill|hline|boldsymbol|mathbf|mathit|mathsf|mathcal|mathnormal|bm|bf"
    r"|boxed|fbox|underline)(?![a-zA-Z])"
)
_SPACES = re.compile(r"(?<!\\)\\[,;:> ]|~|\\q?quad|\\(?:enspace|thinspace|space)(?![a-zA-Z])|\s+")
_TIMES = re.compile(r"(?<=\d) ?[xX] ?(?=10 ?(?:\^|\*\*))")  # 1.5 x 10^3
_FRACTIONS = re.compile(r"\\(?:d|t|c)frac(?![a-zA-Z])")
_BINOMIALS = re.compile(r"\\(?:d|t)binom(?![a-zA-Z])")
_INLINE = re.compile(r"(?<!\\)\\[()\[\]]")
_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))


def spelled(text: str) -> str:
    """One spelling: no layout, no delimiters around or between, ASCII and LaTeX names.

    >>> spelled(r"$\\left( \\dfrac{1}{2},\\, 3 \\right)$."), spelled("2\u00d73\u00b2")
    ('( \\\\frac{1}{2}, 3 )', '2\\\\times 3^{2}')
    """
    text = _RAISED_RUN.sub(lambda run: "^{" + run[0].translate(_RAISED) + "}", text)
    text = _LOWERED_RUN.sub(lambda run: "_{" + run[0].translate(_LOWERED) + "}", text)
    text = _ROOT_SIGN.sub(lambda root: f"\\sqrt{{{root[1]}}}" if root[1] else "\\sqrt ", text)
    text = text.translate(_TABLE)
    text = _COMMA.sub("{,}", text)
    text = re.sub(r"\\left\s*\.|\\right\s*\.", "", text).replace("\\!", "")
    text = _TIMES.sub("\\\\times ", _SIZES.sub(" ", undelimited(text)))
    text = _INLINE.sub(" ", text)
    text = _BINOMIALS.sub(r"\\binom", _FRACTIONS.sub(r"\\frac", _SPACES.sub(" ", text)))
    text = text.replace("\\%", "%").replace("\\#", "#")
    return _without_end(re.sub(r"\s+", " ", text))


def undelimited(text: str) -> str:
    """`text` without the math delimiters around it or around parts of it, dollars of money kept.

    >>> undelimited("$1$ and $2$"), undelimited("$5 and $6"), undelimited(r"\\$5")
    (' 1  and  2 ', '$5 and $6', '\\\\$5')
    """
    text = _without_end(text)
    for start, end in _DELIMITERS:
        if text.startswith(start) and text.endswith(end) and len(text) > len(start + end):
            inner = text[len(start) : -len(end)]
            if start not in inner and not inner.endswith("\\"):
                return inner.strip()
    parts = re.split(r"(?<!\\)\$+", text)
    paired = len(parts) % 2 == 1 and all(not after[:1].isdigit() for after in parts[2::2])
    return " ".join(parts) if paired else text


def _without_end(text: str) -> str:
    """Without what surely ends a sentence or marks it bold."""
    text = text.strip().strip("*").strip()
    if text.endswith((".", ";", ",")) and not text.endswith(".."):
        text = text[:-1].rstrip()
    return text
