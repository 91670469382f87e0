"""The tokens of an answer in one spelling: numbers, names, words, commands, brackets.

A number is read whole, with its thousands separators, repeating digits or exponent. A command that
is not known is an error, never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from resources.verifiers.answers.notation.phrases import words
from resources.verifiers.answers.notation.tree import Number, Unread

GREEK = frozenset(
    words(
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu "
        "xi rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma "
        "Phi Psi Omega pi infty ell triangle angle"
    )
)
FUNCTIONS = frozenset(
    words(
        "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth ln log lg exp "
        "sqrt frac binom sum prod over choose gcd lcm max min"
    )
)
_WORDS_TOO = frozenset(words("max min over choose sum prod frac binom"))
_PLAIN = {"pi": "\\pi", "inf": "\\infty", "infty": "\\infty", "infinity": "\\infty"}
_PLAIN |= {"asin": "\\arcsin", "acos": "\\arccos", "atan": "\\arctan", "nCr": "\\nCr"}
_OPERATORS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "pm": "pm", "mp": "mp", "%": "%",
    "cup": "cup", "cap": "cap", "setminus": "setminus", "backslash": "setminus", "bmod": "mod",
    "mod": "mod", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "circ": "circ",
    "degree": "degree", "prime": "'", "colon": ":",
}  # fmt: skip
_RELATIONS = {
    "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=", "geq": ">=", "geqslant": ">=",
    "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "approx": "~", "in": "in", "equiv": "equiv",
    "simeq": "~", "thickapprox": "~",
}  # fmt: skip
_BRACKETS = {
    "{": ("open", "\\{"), "}": ("close", "\\}"), "lbrace": ("open", "\\{"),
    "rbrace": ("close", "\\}"), "langle": ("open", "<("), "rangle": ("close", ")>"),
    "lfloor": ("open", "floor"), "rfloor": ("close", "floor"), "lceil": ("open", "ceil"),
    "rceil": ("close", "ceil"), "lbrack": ("open", "["), "rbrack": ("close", "]"),
    "lparen": ("open", "("), "rparen": ("close", ")"),
}  # fmt: skip
_ELLIPSES = ("ldots", "dots", "cdots", "dotsc", "dotsb", "vdots", "ddots")
_MONEY = {
    "\u20ac": "euro",
    "\u00a3": "pound sterling",
    "\u00a5": "yen",
    "\u20b9": "rupee",
    "$": "dollar",
}
_ORDINALS = ("st", "nd", "rd", "th")
_CONNECTORS = ("and", "or")
_DIGIT = r"(?:\d+(?:\.\d*)?|\.\d+)"
_NUMBERS = (
    ("explicit", r"\d{1,3}(?:\{,\}\d{3})+(?!\d)(?:\.\d+)?"),
    ("thousands", r"\d{1,3}(?:,\d{3})+(?![\d])(?:\.\d+)?"),
    ("european", r"\d{1,3}(?:[. ]\d{3})+,\d{1,2}(?![\d,.])|\d{1,3}(?:\.\d{3}){2,}(?![\d.])"),
    ("decimal_comma", r"\d+,\d+(?![\d,.])"),
    ("spaced", r"\d{1,3}(?: \d{3})+(?![\d])(?:\.\d+)?"),
    ("repeating", r"(\d*)\.(\d*)\\(?:overline|bar) ?(?:\{ ?(\d+) ?\}|(\d))"),
    ("dotted", r"(\d*)\.(\d*)\\dot ?\{?(\d)\}?(?:(\d*)\\dot ?\{?(\d)\}?)?"),
    ("bracketed", r"(\d*)\.()\((\d+)\)"),
    ("going_on", r"(\d*)\.(\d*?)((\d)\4{2,}) ?(?:\\[lc]?dots|\.\.\.)"),
    ("scientific", r"(?:\d+(?:\.\d+)?|\.\d+)[eE][+-]?\d+(?![\w.])"),
    ("plain", r"\d+(?:\.\d+)?|\.\d+"),
)  # fmt: skip
_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _NUMBERS)
_TEXT = re.compile(
    r"\\(?:text|textbf|textrm|textit|textnormal|mbox|hbox|mathrm|rm|operatorname)\*? ?\{"
)
_MAX_DIGITS = 4000


@dataclass(frozen=True)
class Token:
    """`kind`: number, name, word, command, operator, relation, separator, open, close, money,
    row. `written`: it stands in \\text{}. `spaced`: there is a space before it."""

    kind: str
    text: str
    spaced: bool = False
    written: bool = False
    number: Number | None = None

    @property
    def plain(self) -> tuple[str, str]:
        """What it is, however spaced."""
        return self.kind, self.text


@dataclass(frozen=True)
class Commas:
    """How a comma between digits is read: as thousands separator, as a decimal point."""

    thousands: bool = True
    decimal: bool = False


def tokens(text: str, commas: Commas = Commas()) -> list[Token]:
    """The tokens of a text in one spelling. Raises Unread for what is not known."""
    return list(_tokens(text, commas, written=False))


def _tokens(text: str, commas: Commas, *, written: bool) -> Iterator[Token]:
    place = 0
    while place < len(text):
        spaced = text[place] == " "
        if spaced:
            place += 1
            continue
        spaced = place > 0 and text[place - 1] == " "
        opened = _TEXT.match(text, place)
        if opened:
            end = _closing(text, opened.end())
            inside = text[opened.end() : end].strip()
            if inside.endswith((".", ",")) and end + 1 == len(text):
                inside = inside[:-1]
            yield from _tokens(inside, commas, written="operatorname" not in opened[0])
            place = end + 1
            continue
        number = _number(text, place, commas, spaced)
        if number is not None:
            token, place = number
            yield token
            continue
        found, place = _other(text, place, spaced, written)
        yield from found


def _closing(text: str, place: int) -> int:
    depth = 1
    for at in range(place, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
    raise Unread("a brace that is never closed")


def _number(text: str, place: int, commas: Commas, spaced: bool) -> tuple[Token, int] | None:
    if not (text[place].isdecimal() and text[place].isascii()) and not re.match(
        r"\.[\d\\]", text[place:]
    ):
        return None
    for kind, pattern in _PATTERNS:
        found = pattern.match(text, place)
        if found is None or not _applies(kind, text, found, commas):
            continue
        if len(found[0]) > _MAX_DIGITS:
            raise Unread(f"a number of more than {_MAX_DIGITS} digits")
        if re.match(r"\\(?:overline|bar|dot) ?\{? ?\d", text[found.end() :]):
            raise Unread("digits under a bar or dot that do not follow a decimal point")
        if "." in found[0] and re.match(r"\(\d+\)", text[found.end() :]):
            raise Unread("digits in brackets after decimals: repeating, or a product")
        number = _value(kind, found)
        return Token("number", found[0], spaced, number=number), found.end()
    return None


def _applies(kind: str, text: str, found: re.Match[str], commas: Commas) -> bool:
    if kind in ("thousands", "european"):
        return commas.thousands
    if kind == "decimal_comma":
        return commas.decimal
    if kind == "spaced":  # not the entries of a list
        return (
            not re.match(r" ?,", text[found.end() :]) and text[: found.start()].rstrip()[-1:] != ","
        )
    return True


def _value(kind: str, found: re.Match[str]) -> Number:
    text = found[0]
    if kind in ("repeating", "dotted", "bracketed", "going_on"):
        whole, before, *rest = found.groups()
        if kind == "going_on":
            block = rest[1]
        elif kind == "dotted":
            block = "".join(filter(None, rest))
        else:
            block = next(filter(None, rest))
        scale = 10 ** len(before)
        rest_value = Fraction(int(block), (10 ** len(block) - 1) * scale)
        return Number(Fraction(int(whole + before or "0"), scale) + rest_value)
    if kind == "european":
        text = re.sub(r"[. ]", "", text).replace(",", ".")
    elif kind == "decimal_comma":
        text = text.replace(",", ".")
    elif kind != "plain":
        text = re.sub(r"[{}, ]", "", text)
    if kind == "scientific":
        mantissa, exponent = re.split("[eE]", text)
        if abs(int(exponent)) > _MAX_DIGITS:
            raise Unread(f"an exponent of {exponent}")
        places = max(len(mantissa.partition(".")[2]) - int(exponent), 0)
        return Number(Fraction(text), places or None)
    return Number(Fraction(text), len(text.partition(".")[2]) or None)


def _other(text: str, place: int, spaced: bool, written: bool) -> tuple[list[Token], int]:
    letters = re.compile(r"[A-Za-z]+(?:'s)?").match(text, place)
    if letters and place and letters[0] in _ORDINALS and text[place - 1].isdecimal():
        return [Token("word", letters[0], spaced, True)], letters.end()
    if letters:
        return _letters(letters[0], spaced, written), letters.end()
    if text[place] == "\\":
        return _command(text, place, spaced)
    if text[place] in "{([":
        return [Token("open", text[place], spaced)], place + 1
    if text[place] in "})]":
        return [Token("close", text[place], spaced)], place + 1
    if text[place] in ",;&":
        return [Token("separator", text[place], spaced)], place + 1
    for sign, relation in (
        ("<=", "<="),
        (">=", ">="),
        ("!=", "!="),
        ("==", "="),
        ("=", "="),
        ("<", "<"),
        (">", ">"),
    ):
        if text.startswith(sign, place):
            return [Token("relation", relation, spaced)], place + len(sign)
    if text.startswith("**", place):
        return [Token("operator", "^", spaced)], place + 2
    if text.startswith("...", place):
        raise Unread("an ellipsis: what goes on is not guessed")
    if text[place] in _MONEY:
        return [Token("money", _MONEY[text[place]], spaced)], place + 1
    if text[place] in "+-*/^_!|:%'":
        return [Token("operator", text[place], spaced)], place + 1
    if text[place] == "\u00a2":
        return [Token("word", "cents", spaced, True)], place + 1
    if text[place] == "." and place + 1 < len(text) and text[place + 1] == " " and written:
        return [], place + 1  # of an abbreviation
    if text[place] == "." and re.search(
        r"(?:[Rr]s|sq|cu|hr|hrs|min|ft|in|cm|lb|lbs|oz|mi|yd)$", text[:place]
    ):
        return [], place + 1
    raise Unread(f"the character {text[place]!r}")


def _letters(run: str, spaced: bool, written: bool) -> list[Token]:
    if run in _CONNECTORS or (written and run.lower() in _CONNECTORS):
        return [Token("separator", run.lower(), spaced, written)]
    if len(run) == 1:
        kind = "word" if written and run not in "ei" else "name"
        return [Token(kind, run, spaced, written)]
    if not written or run in ("sin", "cos", "tan", "log", "ln"):
        if run in _PLAIN or run.lower() == "infinity":
            known = _PLAIN.get(run, "\\infty")
            return [Token("name" if known in ("\\pi", "\\infty") else "command", known, spaced)]
        if run in FUNCTIONS - _WORDS_TOO:
            return [Token("command", "\\" + run, spaced)]
    return [Token("word", run, spaced, written)]


def _command(text: str, place: int, spaced: bool) -> tuple[list[Token], int]:
    if text.startswith("\\\\", place):
        skipped = re.match(r"\\\\ ?(?:\[[^\]]*\])?", text[place:])
        return [Token("row", "\\\\", spaced)], place + (skipped.end() if skipped else 2)
    found = re.compile(r"\\([a-zA-Z]+|.)").match(text, place)
    if found is None:
        raise Unread("a backslash at the end")
    name, end = found[1], found.end()
    if name in ("begin", "end"):
        room = re.compile(r" ?\{([a-zA-Z]+)\*?\}(?:\{[lcr| ]+\})?").match(text, end)
        if room is None:
            raise Unread(f"\\{name} without a name")
        return [Token("open" if name == "begin" else "close", f"\\{room[1]}", spaced)], room.end()
    if name in _BRACKETS:
        kind, bracket = _BRACKETS[name]
        return [Token(kind, bracket, spaced)], end
    if name in ("mathbb", "Bbb"):
        field = re.compile(r" ?\{? ?([RZNQC]) ?\}?").match(text, end)
        if field is None:
            raise Unread("\\mathbb of something else than a set of numbers")
        return [Token("field", field[1], spaced)], field.end()
    if name in ("emptyset", "varnothing"):
        return [Token("open", "\\{", spaced), Token("close", "\\}")], end
    if name in _OPERATORS:
        return [Token("operator", _OPERATORS[name], spaced)], end
    if name in _RELATIONS:
        return [Token("relation", _RELATIONS[name], spaced)], end
    if name == "$":
        return [Token("money", "dollar", spaced)], end
    if name in _ELLIPSES:
        raise Unread("an ellipsis: what goes on is not guessed")
    if name in GREEK:
        return [Token("name", "\\" + name, spaced)], end
    if name in FUNCTIONS:
        return [Token("command", "\\" + name, spaced)], end
    if name in ("overline", "overrightarrow", "vec", "hat", "bar", "widehat", "overset"):
        return [Token("command", "\\overline", spaced)], end
    raise Unread(f"the command \\{name}")


def split(tokens: Sequence[Token], kind: str, signs: Sequence[str]) -> list[Sequence[Token]]:
    """The parts between separators outside all brackets; empty ones only where nothing else is."""
    parts: list[Sequence[Token]] = []
    depth, start = 0, 0
    for at, token in enumerate(tokens):
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if depth == 0 and token.kind == kind and token.text in signs:
            parts.append(tokens[start:at])
            start = at + 1
        if depth < 0:
            raise Unread(f"{token.text!r} that nothing opens")
    if depth:
        raise Unread("a bracket that is never closed")
    return [part for part in [*parts, tokens[start:]] if part] or [[]]
