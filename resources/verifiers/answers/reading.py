"""What an answer says: the shape that its tokens make.

Lists are taken apart first, then relations, then brackets; what remains is an expression with a
unit, or words. Nothing is skipped: a token without a place is an error that names it.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import replace
from fractions import Fraction

from resources.verifiers.answers import intervals, quantities, regions, relations, units
from resources.verifiers.answers.notation import labels, phrases
from resources.verifiers.answers.notation.grammar import Style, expression
from resources.verifiers.answers.notation.tokens import Token, split
from resources.verifiers.answers.notation.tree import Apply, Number, Tree, Unread, functions
from resources.verifiers.answers.shapes import (
    Based,
    Collection,
    Labelled,
    Listing,
    Matrix,
    Quantity,
    Ratio,
    Region,
    Sequence,
    Shape,
    Text,
)

_MATRICES = ("\\pmatrix", "\\bmatrix", "\\matrix", "\\smallmatrix", "\\array")
_SETS = ("cup", "cap", "setminus")
_BASES = phrases.words(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
)
_MAX_ITEMS = 200


def read(tokens: Many[Token], style: Style) -> Shape:
    """The shape of an answer. Raises Unread, with what is not understood."""
    if not tokens:
        raise Unread("nothing")
    words = [token.text for token in tokens]
    spoken = all(token.kind == "word" or token.text == "and" for token in tokens)
    number = phrases.spoken(" ".join(words).lower()) if spoken else None
    if number is not None:
        return Quantity(Number(number))
    for signs in ((";",), ("or", "and"), (",",)):
        parts = split(tokens, "separator", signs)
        if len(parts) > 1:
            if len(parts) > _MAX_ITEMS:
                raise Unread(f"a list of more than {_MAX_ITEMS}")
            joined = next(
                token.text for token in tokens if token.plain in _plain("separator", signs)
            )
            return _listing([read(part, style) for part in parts if part], joined)
        tokens = parts[0]
    return _single(tokens, style)


def _plain(kind: str, signs: Many[str]) -> list[tuple[str, str]]:
    return [(kind, sign) for sign in signs]


def _listing(items: Many[Shape], joined: str) -> Shape:
    """Several answers as one shape: a list, one name with several values, a sum of units."""
    if len(items) == 1:
        return items[0]
    summed = quantities.summed(items)
    if summed is not None:
        return summed
    first = items[0]
    named = [item for item in items if isinstance(item, Labelled)]
    one_name = len(named) == len(items) and len({item.label for item in named}) == 1
    if isinstance(first, Labelled) and (one_name or len(named) == 1):
        values = [item.value if isinstance(item, Labelled) else item for item in items]
        if joined in ("or", "and") and all(isinstance(each, Region) for each in values):
            join = regions.union if joined == "or" else regions.intersection
            found = values[0]
            for each in values[1:]:
                found = join(found, each)  # type: ignore[arg-type]
            return replace(first, value=found)
        return replace(first, value=Listing(_flat(values), joined))
    return Listing(_flat(items), joined)


def _flat(items: Many[Shape]) -> tuple[Shape, ...]:
    """The items, with those of lists without names among them."""
    found: list[Shape] = []
    for item in items:
        bare = isinstance(item, Listing) and not any(
            isinstance(each, Labelled) for each in item.items
        )
        found += item.items if isinstance(item, Listing) and bare else [item]
    return tuple(found)


def _single(tokens: Many[Token], style: Style) -> Shape:
    if not tokens:
        raise Unread("nothing between separators")
    if any(token.kind == "relation" for token in _outside(tokens)):
        return relations.read(tokens, style, _single)
    united = [
        token for token in _outside(tokens) if token.kind == "operator" and token.text in _SETS
    ]
    if united:
        parts = split(tokens, "operator", _SETS)
        if len(parts) != len(united) + 1:
            raise Unread("a union with nothing on one side")
        found = intervals.as_region(_single(parts[0], style))
        for sign, part in zip(united, parts[1:], strict=True):
            other = intervals.as_region(_single(part, style))
            if sign.text == "setminus":
                sign, other = replace(sign, text="cap"), regions.complement(other)
            join = regions.union if sign.text == "cup" else regions.intersection
            found = join(found, other)
        return found
    if tokens[0].kind == "field" and len(tokens) == 1:
        field = tokens[0].text
        return regions.EVERYTHING if field == "R" else Text(f"set {field}", field)
    if tokens[0].kind == "open" and _match(tokens) == len(tokens) - 1:
        enclosed = _enclosed(tokens, style)
        if enclosed is not None:
            return enclosed
    based = _based(tokens)
    if based is not None:
        return based
    ratio = _ratio(tokens, style)
    if ratio is not None:
        return ratio
    words = _text(tokens)
    if words is not None:
        return words
    scaled = _scaled_matrix(tokens, style)
    return scaled if scaled is not None else _quantity(tokens, style)


def _outside(tokens: Many[Token]) -> list[Token]:
    """The tokens outside all brackets."""
    found, depth = [], 0
    for token in tokens:
        depth += token.kind == "open"
        if depth == 0:
            found.append(token)
        depth -= token.kind == "close"
    return found


def _match(tokens: Many[Token]) -> int:
    """Where the bracket that opens first is closed."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if depth == 0:
            return at
    raise Unread("a bracket that is never closed")


def _enclosed(tokens: Many[Token], style: Style) -> Shape | None:
    """What one pair of brackets around everything makes, or None for an expression."""
    opening, closing, inside = tokens[0].text, tokens[-1].text, tokens[1:-1]
    if opening in _MATRICES:
        return _matrix(inside)
    if opening == "\\{" and closing == "\\}":
        if not inside:
            return regions.NOTHING
        items = [_single(part, style) for part in split(inside, "separator", (",", ";", "and"))]
        return Collection(_flat(items))
    if opening == "{" and closing == "}":
        return read(inside, style) if inside else None
    if opening not in ("(", "[", "<(") or closing not in (")", "]", ")>"):
        return None
    parts = split(inside, "separator", (",", ";"))
    if len(parts) > 1:
        return _sequence(
            tuple(_single(part, style) for part in parts),
            opening[-1] + closing[0] if opening != "<(" else "<>",
        )
    if inside and inside[0].kind == "open" and _match(inside) == len(inside) - 1:
        return _enclosed(inside, style)
    return _single(inside, style) if inside and _text(inside) is not None else None


def _sequence(items: tuple[Shape, ...], brackets: str) -> Shape:
    """A tuple, or an interval where its brackets or its ends leave no doubt."""
    endless = any(isinstance(item, Quantity) and intervals.infinite(item.tree) for item in items)
    if brackets in ("(]", "[)") or (endless and len(items) == 2):
        if len(items) != 2:
            raise Unread("brackets that do not fit each other")
        return intervals.interval(items, brackets)
    return Sequence(items, brackets)


def _matrix(inside: Many[Token]) -> Matrix:
    rows = []
    for row in split(inside, "row", ("\\\\",)):
        rows.append(tuple(expression(cell) for cell in split(row, "separator", ("&",))))
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise Unread("a matrix whose rows differ in length")
    return Matrix(tuple(rows))


def _scaled_matrix(tokens: Many[Token], style: Style) -> Matrix | None:
    """A factor before a matrix: \\frac{1}{7}\\begin{pmatrix}...; None where there is no matrix."""
    at = next((at for at, token in enumerate(tokens) if token.text in _MATRICES), None)
    if at is None:
        return None
    if at == 0 or _match(tokens[at:]) != len(tokens) - at - 1:
        raise Unread("an expression of matrices")
    before = tokens[: at - 1] if tokens[at - 1].plain == ("operator", "*") else tokens[:at]
    sign = [token.text for token in before] == ["-"]
    factor: Tree = Apply("neg", (Number(Fraction(1)),)) if sign else expression(before, style)
    inside = _matrix(tokens[at + 1 : -1])
    return Matrix(tuple(tuple(Apply("*", (factor, cell)) for cell in row) for row in inside.rows))


def _based(tokens: Many[Token]) -> Based | None:
    """Digits with their base: 1010_2, (52)_{\\text{eight}}, 77 base 8; None where there is none."""
    texts = [token.text for token in tokens if token.text not in "(){}"]
    mark = next((at for at, text in enumerate(texts) if text in ("_", "base")), None)
    if mark is None or mark == 0 or len(texts) != mark + 2:
        return None
    numbers = any(token.kind == "number" for token in tokens[: mark + 1])
    if not numbers and not (len(texts[0]) > 1 and texts[-1] == "16"):
        return None
    digits, named = "".join(texts[:mark]), texts[-1].lower()
    base = int(named) if named.isdecimal() else _BASES.index(named) + 2 if named in _BASES else 0
    if not 2 <= base <= 36:
        return None
    digits = digits.replace(",", "")
    try:
        int(digits, base)
    except ValueError:
        raise Unread(f"{digits!r} is no number in base {base}") from None
    return Based(digits.lstrip("0").upper() or "0", base)


def _ratio(tokens: Many[Token], style: Style) -> Ratio | None:
    half = tokens[-1].text.lower() if tokens[-1].text.lower() in ("am", "pm") else ""
    parts = split(tokens[:-1] if half else tokens, "operator", (":",))
    if len(parts) == 1:
        texts = [token.text for token in tokens]
        if len(tokens) != 3 or texts[1] != "to" or tokens[0].kind != "number":
            return None
        parts = [tokens[:1], tokens[2:]]
    digits = [part[0].text if len(part) == 1 else "" for part in parts]
    clock = len(parts) in (2, 3) and all(len(text) == 2 and text.isdecimal() for text in digits[1:])
    return Ratio(tuple(expression(part, style) for part in parts), clock, half)


def _text(tokens: Many[Token]) -> Shape | None:
    """Words, or the number or region that they say; None where something else is among them."""
    if any(token.kind not in ("word", "name") and token.text not in ("-", "'") for token in tokens):
        return None
    words = [token for token in tokens if token.kind == "word"]
    measured = len(words) < len(tokens) and all(units.word(word.text) for word in words)
    if measured or any(token.text.startswith("\\") for token in tokens):
        return None  # x cm, \pi radians
    letters = " ".join(token.text for token in tokens if token.text != "-")
    single = len(tokens) == 1 and words and (words[0].written or letters.lower() in phrases.SHORT)
    real_words = any(word.written or not labels.run_of_letters(word) for word in words)
    if not single and not real_words:
        return None
    said = phrases.phrase(letters)
    number = _spoken(letters.lower().split(), words)
    if number is not None:
        return number
    return regions.EVERYTHING if said == "all real numbers" else Text(said, letters)


def _spoken(said: Many[str], tokens: Many[Token]) -> Quantity | None:
    """Twelve, or twelve dollars: a number in words, with what it is of."""
    for end in range(len(said), 0, -1):
        number = phrases.spoken(" ".join(said[:end]))
        if number is not None and len(said) == len(tokens):
            factor, unit = units.read(tokens[end:])
            return Quantity(Number(number * factor), unit)
    return None


def _quantity(tokens: Many[Token], style: Style) -> Shape:
    """An expression with its unit; both values of a plus-minus."""
    found = quantities.read(tokens, style)
    signs = functions(found.tree) & {"pm", "mp"}
    if not signs:
        return found
    if quantities.occurrences(found.tree, "pm") > 1 and "mp" not in signs:
        raise Unread("several \\pm, whose signs may go together or not")
    return Listing(
        tuple(replace(found, tree=quantities.chosen(found.tree, up)) for up in (True, False))
    )
