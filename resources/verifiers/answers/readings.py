"""All that an answer can mean: its reading, and others where its spelling leaves two open.

Commas between digits are thousands separators, list separators or decimal points; a slash, a `log`
and a single letter after a number have two readings each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from resources.verifiers.answers.notation.grammar import Style
from resources.verifiers.answers.notation.tokens import Commas, tokens
from resources.verifiers.answers.notation.tree import Unread
from resources.verifiers.answers.reading import read
from resources.verifiers.answers.shapes import Quantity, Shape
from resources.verifiers.answers.values import decimal_places

_TIGHT = re.compile(r"\d,\d")
_GROUPED = re.compile(r"(?<!\d)[1-9]\d{0,2}(?:,\d{3})+(?!\d)")
_BRACKETED = re.compile(r"\s*(?:[A-Za-z\\]\S* ?(?:=|\\in) ?)?(?:[(\[]|\\\{|\\langle)")


@dataclass(frozen=True)
class Reading:
    """`shape`: the reading that is preferred; `styles`: what of it has a second one."""

    text: str
    commas: Commas
    shape: Shape
    styles: frozenset[str]

    @property
    def decimal(self) -> bool:
        """Whether it is one decimal number, written with a point."""
        return isinstance(self.shape, Quantity) and decimal_places(self.shape.tree) is not None

    @property
    def decimal_comma(self) -> bool:
        """Whether it is one number if its comma is a decimal point."""
        return bool(re.fullmatch(r"[+-]?\d+,\d+", self.text.strip()))

    def styled(self, style: str) -> Shape:
        """The second reading of what `style` names; the same shape where there is none."""
        if style not in self.styles:
            return self.shape
        chosen = Style()
        setattr(chosen, style, True)
        try:
            return read(tokens(self.text, self.commas), chosen)
        except Unread:
            return self.shape

    def by_commas(self, other: Reading) -> Iterator[tuple[str, Shape, Shape]]:
        """Pairs of shapes with the commas of one side read otherwise."""
        for shape in _otherwise(self):
            yield "the answer's", shape, other.shape
        for shape in _otherwise(other):
            yield "the expected answer's", self.shape, shape


def readings(text: str) -> Reading:
    """The readings of an answer in one spelling. Raises Unread."""
    commas = _preferred(text)
    style = Style()
    shape = read(tokens(text, commas), style)
    return Reading(text, commas, shape, frozenset(style.met))


def _preferred(text: str) -> Commas:
    """1,234 is a number, but (1,234) is a pair unless other commas there have a space."""
    if not _BRACKETED.match(text):
        return Commas()
    groups = re.search(r"\d,0\d\d(?!\d)", text) or re.search(r", ", text)
    return Commas(thousands=groups is not None)


def _otherwise(reading: Reading) -> Iterator[Shape]:
    if not _TIGHT.search(reading.text) or _BRACKETED.match(reading.text):
        return
    others = [Commas(not reading.commas.thousands)]
    if not _GROUPED.search(reading.text):
        others.append(Commas(thousands=False, decimal=True))
    for commas in others:
        try:
            yield read(tokens(reading.text, commas), Style())
        except Unread:
            continue
