"""What an answer is called: the left side of `x = 5`, `f(x) = 2x`, `AB = 4`, `(x, y) = (1, 2)`.

A name says which quantity is meant; `a + b = 5` or `2x = 4` have none and are equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resources.verifiers.answers.notation.phrases import ENGLISH
from resources.verifiers.answers.notation.tokens import Token, split


@dataclass(frozen=True)
class Label:
    """`text`: one spelling of the name; `variable`: it is a variable by itself."""

    text: str
    variable: bool


def label(tokens: Sequence[Token]) -> Label | None:
    """The name that tokens make, or None for an expression."""
    texts = [token.text for token in tokens]
    called = _call(tokens) if tokens else None
    if called is not None:
        return called
    if not tokens or any(
        token.kind in ("number", "money", "field") for token in _unlowered(tokens)
    ):
        return None
    if tokens[0].kind in ("name", "word") and _subscripted(tokens, 0) == len(tokens):
        single = tokens[0].kind == "name" and texts[0] not in ("e", "i", "\\infty")
        if single or not run_of_letters(tokens[0]) or texts[0].isupper():
            return Label("".join(texts), single)
        return None
    if all(token.kind in ("word", "name") for token in tokens):
        words = any(token.kind == "word" and not run_of_letters(token) for token in tokens)
        marked = texts[0] in ("\\angle", "\\triangle")
        return Label(" ".join(texts), False) if words or marked else None
    return _tuple(tokens) or _measure(tokens)


def run_of_letters(token: Token) -> bool:
    """Letters side by side that are no word: a product as in xyz, or a name as in AB."""
    text = token.text
    short = text.islower() and len(text) <= 3 and not (token.spaced and text in ENGLISH)
    return not token.written and text.isalpha() and (short or text.isupper())


def _unlowered(tokens: Sequence[Token]) -> list[Token]:
    """The tokens that are in no subscript."""
    found, at = [], 0
    while at < len(tokens):
        end = _subscripted(tokens, at)
        found.append(tokens[at])
        at = max(end, at + 1)
    return found


def _subscripted(tokens: Sequence[Token], at: int) -> int:
    """Where a name at `at` ends, its subscript and primes included."""
    end = at + 1
    if end + 1 < len(tokens) and tokens[end].plain == ("operator", "_"):
        end += 2
        if tokens[end - 1].plain == ("open", "{"):
            depth = 1
            while end < len(tokens) and depth:
                depth += {"open": 1, "close": -1}.get(tokens[end].kind, 0)
                end += 1
    while end < len(tokens) and tokens[end].plain == ("operator", "'"):
        end += 1
    return end


def _call(tokens: Sequence[Token]) -> Label | None:
    """f(x), W(n): a function of a variable, by whatever name the variable goes."""
    end = _subscripted(tokens, 0)
    if [token.text for token in tokens[end : end + 5]] == ["^", "{", "-", "1", "}"]:
        end += 5  # an inverse function
    rest = tokens[end:]
    named = tokens[0].kind == "name" and len(rest) >= 3 and rest[0].text == "("
    if not named or rest[-1].text != ")" or rest[0].kind != "open":
        return None
    parts = split(rest[1:-1], "separator", (",",))
    if all(len(part) == 1 and part[0].kind == "name" for part in parts):
        return Label("".join(token.text for token in tokens[:end]) + "()", False)
    return None


def _tuple(tokens: Sequence[Token]) -> Label | None:
    """(x, y): names in order."""
    if tokens[0].text not in ("(", "<(", "\\{", "[") or tokens[-1].kind != "close":
        return None
    parts = split(tokens[1:-1], "separator", (",", ";"))
    if len(parts) > 1 and all(_subscripted(part, 0) == len(part) for part in parts):
        return Label("(" + ",".join("".join(t.text for t in part) for part in parts) + ")", False)
    return None


def _measure(tokens: Sequence[Token]) -> Label | None:
    """|AB|, A:B, NO/BO: lengths and ratios of what points name."""
    for token in _unlowered(tokens):
        capital = token.kind in ("name", "word") and token.text.isupper()
        sign = token.text in (
            "|",
            ":",
            "_",
            "/",
            "{",
            "}",
            "\\frac",
            "\\overline",
            "\\angle",
            "(",
            ")",
        )
        if not capital and not sign:
            return None
    whole = any(
        token.text in ("|", ":", "\\frac", "/", "\\overline", "\\angle") for token in tokens
    )
    return Label("".join(token.text for token in tokens), False) if whole else None
