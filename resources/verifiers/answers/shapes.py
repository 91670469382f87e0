"""What an answer can be: a quantity, a list, a tuple, a region of the line, an equation, words.

Only the kinds themselves, with no way to read or compare them.
"""

from __future__ import annotations

from dataclasses import dataclass

from resources.verifiers.answers.notation.tree import Tree
from resources.verifiers.answers.units import Unit
from resources.verifiers.answers.values import Value


@dataclass(frozen=True)
class Quantity:
    """An expression, with the unit that is stated."""

    tree: Tree
    unit: Unit | None = None


@dataclass(frozen=True)
class Based:
    """Digits in a stated base."""

    digits: str
    base: int

    @property
    def value(self) -> int:
        return int(self.digits, self.base)


@dataclass(frozen=True)
class Ratio:
    """Two or more amounts to each other, 3:2; `clock`: it may be a time of day, 12:00, in the
    `half` that is named, "am" or "pm"."""

    parts: tuple[Tree, ...]
    clock: bool = False
    half: str = ""


@dataclass(frozen=True)
class Listing:
    """Several answers: in any order where nothing names them. `joined`: by "," or "and" or "or"."""

    items: tuple[Shape, ...]
    joined: str = ","


@dataclass(frozen=True)
class Collection:
    """A finite set in braces."""

    items: tuple[Shape, ...]


@dataclass(frozen=True)
class Sequence:
    """Values in order within `brackets`: a point, a vector, or an open or closed interval."""

    items: tuple[Shape, ...]
    brackets: str


@dataclass(frozen=True)
class Matrix:
    """Rows of expressions."""

    rows: tuple[tuple[Tree, ...], ...]


@dataclass(frozen=True)
class Interval:
    """The values between two ends, None for an infinite one."""

    low: Value | None
    high: Value | None
    low_in: bool = False
    high_in: bool = False


@dataclass(frozen=True)
class Region:
    """A set of real values: disjoint intervals from low to high, single points among them."""

    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class Labelled:
    """A value that is given a name: x = 5, f(x) = 2x; `variable`: the name alone is a variable."""

    label: str
    value: Shape
    variable: bool = True


@dataclass(frozen=True)
class Equation:
    """Two expressions said to be equal."""

    left: Tree
    right: Tree


@dataclass(frozen=True)
class Relation:
    """Expressions in a chain of <, <= and !=, written from the smaller to the larger."""

    trees: tuple[Tree, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """Words, in lower case without articles; `letters` as they were written."""

    words: str
    letters: str


Shape = (
    Quantity | Based | Ratio | Listing | Collection | Sequence | Matrix | Region | Labelled
    | Equation | Relation | Text
)  # fmt: skip

KINDS = {
    Quantity: "a value", Based: "a number in a base", Ratio: "a ratio", Listing: "a list",
    Collection: "a set", Sequence: "a tuple or interval", Matrix: "a matrix", Region: "a region",
    Labelled: "a named value", Equation: "an equation", Relation: "an inequality", Text: "words",
}  # fmt: skip
