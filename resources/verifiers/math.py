"""Math answers: exact text first, exact numbers next, then computer algebra in its own process.

Computer algebra alone is not trusted: math-verify 0.9 calls 1/2004! and 1/2006!, 1/2^99 and 1/2^98,
1-1/e and 1+1/e, and some different lines, equal. Where two ways disagree the verdict is `unknown`.
"""

import re

from resources.verifiers import boxed, numeric, symbolic
from resources.verifiers.verdict import Verdict, shorten

_ROUNDED = 1e-5  # relative: how far a decimal may be from an exact value to be looked at further
_LONGEST = 400  # characters of an answer without a box
_SPACES = re.compile(r"\\[,;:! ]|~|\\(?:quad|qquad)(?![a-zA-Z])|\s+")
_SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits)(?![a-zA-Z])")
_WRAPPERS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\{([^{}]*)\}")
_SCRIPT = re.compile(r"([\^_])\{(\w)\}")
_THOUSANDS = re.compile(
    r"(?<![\d,.(\[{])[+-]?[1-9]\d{0,2}(?:(?:\s?,\s?|\s?\{\s?,\s?\}|\s)\d{3})+(?:\.\d+)?(?![\d,)\]}])"
)
_PERCENT = re.compile(r"(?<=\d)\$?\s*(?:percent(?:age)?|pct)\b")
_SPAN = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SAID = re.compile(
    r"\b(?:answer|result|solution)\s*(?:is|:|=)\s*(\S.*)$", re.IGNORECASE | re.DOTALL
)
_EULER = re.compile(r"\\(?:mathrm|text)\{e\}")
_DELIMITERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"))


def verify(answer: str, expected: str) -> Verdict:
    """Whether `answer` is mathematically equal to `expected`; strings of LaTeX or plain text.

    The last `\\boxed{}` of each counts; without one, what follows "the answer is", else the last
    formula in `$` or `\\(`, else all of it.

    >>> verify(r"so it is \\boxed{\\frac{1}{2}}", "0.5").verdict
    'correct'
    >>> verify("1/2^99", "1/2^98").verdict
    'incorrect'
    """
    got, want = _final(answer), _final(expected)
    if not want:
        raise ValueError("the expected answer is empty")
    if not got or len(got) > _LONGEST:
        return Verdict("incorrect", f"no answer in {shorten(answer[-160:])!r}")
    if got == want or (_is_word(want) and got.lower() == want.lower()):
        return Verdict("correct", f"{shorten(got)} is the expected text")
    values = numeric.value(got), numeric.value(want)
    rounded = False
    if None not in values:
        equal = numeric.same(*values)
        if equal:
            return Verdict("correct", f"{shorten(got)} has the value of {shorten(want)}")
        rounded = ("." in got or "." in want) and numeric.close(*values, _ROUNDED)
        if equal is False and not rounded:
            return Verdict("incorrect", f"{shorten(got)} is not the value {shorten(want)}")
    if _is_word(got) and (
        values[1] is not None or (_is_word(want) and sorted(got) != sorted(want))
    ):
        return Verdict("incorrect", f"{shorten(got)} is not {shorten(want)}")
    algebra = symbolic.compare(_raw(answer), _raw(expected))
    return _judge(f"{shorten(got)} against {shorten(want)}", algebra, rounded)


def normalise(text: str) -> str:
    """One spelling for what is surely the same: no spacing, delimiters, sizes, thousands commas.

    >>> normalise(r"$\\left( \\dfrac{1}{2},\\, 3 \\right)$."), normalise("1,000 x^{2}")
    ('(\\\\frac{1}{2},3)', '1000 x^2')
    """
    text = _inside(text)
    text = _SIZES.sub("", text)
    text = _THOUSANDS.sub(_plain_number, text)
    text = _SPACES.sub(" ", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = (
        _SCRIPT.sub(r"\1\2", _WRAPPERS.sub(r"\1", text)).replace("\\%", "%").replace("\u2212", "-")
    )
    text = re.sub(r"\s*([^\w\s\\])\s*", r"\1", text).strip()
    return text.rstrip(".") if text.rstrip(".") else text


def _final(text: str) -> str:
    return normalise(_raw(text))


def _raw(text: str) -> str:
    content = boxed.last(text)
    if content is None:
        said = _SAID.search(text)
        content = said.group(1) if said else text
        spans = [next(filter(None, groups)) for groups in _SPAN.findall(content)]
        if spans and not _PERCENT.search(content):
            content = spans[-1]
    return _EULER.sub("e", _PERCENT.sub(r"\\%", _inside(content)))


def _inside(text: str) -> str:
    """`text` without a final full stop and without the math delimiters around all of it."""
    text = text.strip().rstrip(".").strip()
    for start, end in _DELIMITERS:
        if text.startswith(start) and text.endswith(end) and len(text) > len(start + end):
            inner = text[len(start) : -len(end)]
            return text if start in inner else inner.strip()
    return text


def _plain_number(match: re.Match[str]) -> str:
    return re.sub(r"[{},\s]", "", match.group())


def _is_word(text: str) -> bool:
    """A word, not a product of variables: `Tuesday`, `no solution`."""
    return bool(re.fullmatch(r"[A-Za-z]{3,}(?: [A-Za-z]+)*", text))


def _judge(pair: str, algebra: symbolic.Comparison, rounded: bool) -> Verdict:
    """The verdict of computer algebra and of values at fixed points, which must agree.

    For a rounded decimal only the former counts, with its own rounding.
    """
    if algebra.failure:
        return Verdict("unknown", f"{pair}: {algebra.failure}")
    if algebra.sampled is None or rounded or algebra.equal == algebra.sampled:
        return Verdict("correct" if algebra.equal else "incorrect", f"{pair}: computer algebra")
    if not algebra.sampled and not algebra.has_variables:
        return Verdict("incorrect", f"{pair}: their values differ")
    said = {True: "equal", False: "different"}
    return Verdict(
        "unknown",
        f"{pair}: computer algebra says {said[algebra.equal]}, values at fixed points say "
        f"{said[algebra.sampled]}",
    )
