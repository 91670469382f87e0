"""Expressions with money signs before and units after them, and both values of a plus-minus."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from resources.verifiers.answers import units
from resources.verifiers.answers.notation.grammar import Style, expression
from resources.verifiers.answers.notation.labels import run_of_letters
from resources.verifiers.answers.notation.tokens import Token
from resources.verifiers.answers.notation.tree import Apply, Number, Series, Tree, Unread, replaced
from resources.verifiers.answers.shapes import Quantity, Shape
from resources.verifiers.answers.units import MONEY, Unit
from resources.verifiers.answers.values import NoValue, value


def read(tokens: Sequence[Token], style: Style) -> Quantity:
    """An expression and the unit stated with it. Raises Unread."""
    money, tokens = _money(list(tokens))
    degrees = _temperature(tokens)
    if degrees is not None:
        return Quantity(expression(tokens[: degrees[0]], style), degrees[1])
    several = _several(tokens)
    if several is not None and money is None:
        return several
    start = _tail(tokens, style)
    if start == 0:
        raise Unread(f"the words {' '.join(token.text for token in tokens)!r}")
    tree = expression(tokens[:start], style)
    factor, unit = units.read(tokens[start:])
    if factor != 1:
        tree = Apply("*", (tree, Number(Fraction(factor))))
    if money is not None:
        if unit is not None and not _doubled(money, unit):
            raise Unread(f"the units {money.text} and {unit.text}")
        return Quantity(tree, money)
    if unit is None and isinstance(tree, Apply) and tree.function == "degree":
        return Quantity(tree.arguments[0], units.DEGREE)
    if unit is None and isinstance(tree, Apply) and _degrees_below(tree):
        return Quantity(Apply("neg", tree.arguments[0].arguments), units.DEGREE)  # type: ignore[union-attr]
    return Quantity(tree, unit)


def _degrees_below(tree: Apply) -> bool:
    inside = tree.arguments[0]
    return tree.function == "neg" and isinstance(inside, Apply) and inside.function == "degree"


def _doubled(money: Unit, unit: Unit) -> bool:
    """Money said twice: $5 dollars."""
    return (money.dimension, money.scale) == (unit.dimension, unit.scale)


def _money(tokens: list[Token]) -> tuple[Unit | None, list[Token]]:
    """A sign of money before or after an amount, taken off."""
    places = [at for at, token in enumerate(tokens) if token.kind == "money"]
    if len(places) > 1:
        raise Unread("several signs of money")
    if places:
        at = places[0]
        text = tokens[at].text.removeprefix("pound ")
        signs = all(token.text in ("-", "+", "US") for token in tokens[:at])
        if len(tokens) == 1 or not (signs or at == len(tokens) - 1):
            raise Unread("a sign of money inside an expression")
        if at and tokens[at - 1].text == "US":
            at -= 1
        return units.UNITS[text], [*tokens[:at], *tokens[places[0] + 1 :]]
    unit = units.word(tokens[0].text) if tokens and tokens[0].kind == "word" else None
    if unit is not None and len(tokens) > 1 and unit.dimension[0][0] in MONEY:
        return unit, tokens[1:]
    return None, tokens


def _temperature(tokens: Sequence[Token]) -> tuple[int, Unit] | None:
    """Where 30^\\circ C or 30 degrees of a named scale ends, and the scale."""
    texts = [token.text for token in tokens]
    scale = {"C": units.CELSIUS, "F": units.FAHRENHEIT}.get(texts[-1] if texts else "")
    if scale is None:
        return None
    for sign in (["^", "{", "circ", "}"], ["^", "circ"], ["degree"]):
        if texts[-1 - len(sign) : -1] == sign and len(texts) > len(sign) + 1:
            return len(texts) - 1 - len(sign), scale
    return None


def _tail(tokens: Sequence[Token], style: Style) -> int:
    """Where the words after an expression begin."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if depth or not at:
            continue
        if token.plain == ("operator", "%"):
            return at
        if token.kind == "word" and (not run_of_letters(token) or _abbreviated(tokens, at)):
            while at > 1 and tokens[at - 1].kind == "word" and tokens[at - 1].spaced:
                at -= 1  # 6 red balls
            return at
    single = _single_letter(tokens)
    if single is not None:
        style.met.add("letter_is_unit")
        return single if style.letter_is_unit else len(tokens)
    return len(tokens)


def _single_letter(tokens: Sequence[Token]) -> int | None:
    """Where a last letter that may be a unit stands: 10 m, 10 m^2; None where there is none."""
    at = len(tokens) - 1
    if at > 2 and tokens[at].plain == ("close", "}"):
        at -= 4 if tokens[at - 2].text == "{" else 0
    elif at > 2 and tokens[at - 1].plain == ("operator", "^"):
        at -= 2
    if at < 1 or not _may_be_unit(tokens[at]):
        return None
    others = any(token.kind in ("name", "command") for token in tokens[:at])
    return None if others or tokens[at - 1].kind not in ("number", "close") else at


def _may_be_unit(token: Token) -> bool:
    """A letter that is a unit's sign, or a short word apart that may be a product: 1 ton."""
    if token.kind == "name":
        return token.text in units.LETTERS
    return token.kind == "word" and token.spaced and token.text.islower()


def _abbreviated(tokens: Sequence[Token], at: int) -> bool:
    """Whether a run of letters after a number is an abbreviated unit: 5 cm."""
    before = tokens[at - 1]
    return before.kind in ("number", "close") and units.word(tokens[at].text) is not None


def _several(tokens: Sequence[Token]) -> Quantity | None:
    """5 feet 6 inches: amounts of the same dimension, the larger unit first."""
    kinds = [token.kind for token in tokens]
    if len(tokens) < 4 or kinds != ["number", "word"] * (len(tokens) // 2):
        return None
    pairs = zip(tokens[::2], tokens[1::2], strict=True)
    items = [Quantity(number.number, units.read([name])[1]) for number, name in pairs]  # type: ignore[arg-type]
    found = summed(items)
    return found if isinstance(found, Quantity) else None


def summed(items: Sequence[Shape]) -> Shape | None:
    """2 hours and 30 minutes as one quantity; None for a list of separate ones."""
    measured = [item for item in items if isinstance(item, Quantity) and item.unit is not None]
    if len(items) < 2 or len(measured) != len(items):
        return None
    known = [item.unit for item in measured if item.unit is not None and item.unit.known]
    if len(known) != len(items) or len({unit.dimension for unit in known}) > 1:
        return None
    scales = [unit.scale for unit in known]
    if any(a <= b for a, b in pairwise(scales)) or known[0].shift:
        return None
    total = Fraction(0)
    try:
        for item, unit in zip(measured, known, strict=True):
            amount = value(item.tree)
            if not isinstance(amount, Fraction) or amount < 0:
                return None
            total += amount * unit.scale / known[0].scale
    except NoValue:
        return None
    return Quantity(Number(total), known[0])


def occurrences(tree: Tree, function: str) -> int:
    """How often a tree applies a function."""
    if isinstance(tree, Apply):
        below = sum(occurrences(part, function) for part in tree.arguments)
        return below + (tree.function == function)
    if isinstance(tree, Series):
        return sum(occurrences(part, function) for part in (tree.low, tree.high, tree.body))
    return 0


def chosen(tree: Tree, upper: bool) -> Tree:
    """The tree with the upper or the lower one of all its double signs."""

    def change(part: Tree) -> Tree | None:
        if not isinstance(part, Apply) or part.function not in ("pm", "mp"):
            return None
        left, right = (chosen(each, upper) for each in part.arguments)
        positive = upper == (part.function == "pm")
        return Apply("+", (left, right if positive else Apply("neg", (right,))))

    return replaced(tree, change)
