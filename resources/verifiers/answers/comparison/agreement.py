"""Whether two answers say the same: one small rule for each pair of kinds.

Each rule gives an outcome with its reason. Kinds that cannot be the same (a list and one value) are
different; kinds that may be (an equation and its solutions) stay undecided.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from functools import reduce
from typing import Any

from resources.verifiers.answers import regions
from resources.verifiers.answers.comparison import amounts, identities, symbolic
from resources.verifiers.answers.comparison.identities import Outcome
from resources.verifiers.answers.intervals import as_region
from resources.verifiers.answers.notation.phrases import numeric, similar
from resources.verifiers.answers.notation.tree import Name, Tree, Unread, functions, minus, names
from resources.verifiers.answers.shapes import (
    KINDS,
    Based,
    Collection,
    Equation,
    Labelled,
    Listing,
    Matrix,
    Quantity,
    Ratio,
    Region,
    Relation,
    Sequence,
    Shape,
    Text,
)


def compare(got: Shape, want: Shape) -> Outcome:
    """Whether two answers say the same."""
    if isinstance(got, Labelled) or isinstance(want, Labelled):
        return _labelled(got, want)
    rule = _RULES.get((type(got), type(want)))
    if rule is not None:
        return rule(got, want)
    rule = _RULES.get((type(want), type(got)))
    if rule is not None:
        return rule(want, got)
    return Outcome(False, f"{KINDS[type(got)]} against {KINDS[type(want)]}")


def _labelled(got: Shape, want: Shape) -> Outcome:
    """Named values: the same name, or one name only; other names make another answer."""
    mine, theirs = (each.label if isinstance(each, Labelled) else None for each in (got, want))
    if isinstance(got, Equation) or isinstance(want, Equation):
        return _equations(got, want)
    inside, other = (each.value if isinstance(each, Labelled) else each for each in (got, want))
    if mine is None or theirs is None or mine == theirs:
        return compare(inside, other)
    if _difference(got) is not None and _difference(want) is not None:
        variable = any(isinstance(each, Quantity) and names(each.tree) for each in (inside, other))
        if variable:
            return _equations(got, want)
    found = compare(inside, other)
    if found.equal:
        return Outcome(False, f"{mine} is named, not {theirs}")
    return found


def _equations(got: Shape, want: Shape) -> Outcome:
    """Equations with the same solutions: proportional differences, else a question for algebra."""
    left, right = _difference(got), _difference(want)
    if left is None or right is None:
        return Outcome(None, f"{KINDS[type(got)]} against {KINDS[type(want)]}")
    if identities.proportional(left, right):
        return Outcome(True, "the same equation")
    if names(left) == names(right) and identities.linear(left) and identities.linear(right):
        return Outcome(False, "different lines")
    return symbolic.one_equation(left, right)


def _difference(shape: Shape) -> Tree | None:
    if isinstance(shape, Equation):
        return minus(shape.left, shape.right)
    if isinstance(shape, Labelled) and shape.variable and isinstance(shape.value, Quantity):
        return minus(Name(shape.label), shape.value.tree)
    return None


def _texts(got: Text, want: Text) -> Outcome:
    if got.words == want.words:
        return amounts.SAME
    single = len(got.letters) == 1 and len(want.letters) == 1
    if not single and similar(got.words, want.words):
        return Outcome(None, f"whether {got.words!r} says {want.words!r}")
    return Outcome(False, f"{got.words!r} is not {want.words!r}")


def _text_and_value(text: Text, other: Quantity) -> Outcome:
    letters = amounts.letters(other.tree)
    if letters is not None and other.unit is None:
        if text.letters == letters:
            return amounts.SAME
        if text.letters.lower() == letters.lower():
            return Outcome(None, f"{text.letters} and {letters} differ in case only")
        return Outcome(False, f"{text.letters!r} is not {letters!r}")
    if names(other.tree) and " " in text.words:
        return Outcome(None, "words against an expression")
    if numeric(text.words):
        return Outcome(None, f"the number in {text.words!r}")
    return Outcome(False, f"{text.words!r} is no value")


def _unordered(got: Many[Shape], want: Many[Shape], *, repeats: bool) -> Outcome:
    """Each item has its like on the other side; `repeats`: as often."""
    for items, others in ((got, want), (want, got)):
        for item in items:
            outcomes = [
                compare(*((item, other) if items is got else (other, item))) for other in others
            ]
            if not any(each.equal for each in outcomes):
                unsure = next((each for each in outcomes if each.equal is None), None)
                nothing = Outcome(False, "one has what the other lacks")
                if unsure is None:
                    return nothing
                return Outcome(None if len(got) == len(want) else False, unsure.why)
    if repeats and len(got) != len(want) and all(isinstance(each, Quantity) for each in got):
        return Outcome(None, "the same values, some of them more often")
    return Outcome(True, "the same items")


def _in_order(got: Many[Shape], want: Many[Shape]) -> Outcome:
    if len(got) != len(want):
        return Outcome(False, f"{len(got)} items, not {len(want)}")
    outcomes = [compare(*pair) for pair in zip(got, want, strict=True)]
    for equal in (False, None):
        for at, each in enumerate(outcomes, 1):
            if each.equal is equal:
                return Outcome(equal, f"item {at}: {each.why}")
    return Outcome(True, "the same items in order")


def _lists(got: Listing, want: Listing) -> Outcome:
    """Several answers: by their names where both have them, in order where one has, else in any."""
    named = [all(isinstance(item, Labelled) for item in each.items) for each in (got, want)]
    if all(named) or not any(named):
        found = _unordered(got.items, want.items, repeats=True)
        letters = [_is_letters(item) for item in (*got.items, *want.items)]
        if found.equal and all(letters) and not _in_order(got.items, want.items).equal:
            return Outcome(None, "the same letters in another order")
        return found
    ordered = _in_order(got.items, want.items)
    if ordered.equal is False and _unordered(got.items, want.items, repeats=True).equal:
        labelled = got if named[0] else want
        bases = {item.label.split("_")[0] for item in labelled.items if isinstance(item, Labelled)}
        if len(bases) == 1:
            return Outcome(True, "the same items")
    return ordered


def _is_letters(item: Shape) -> bool:
    return isinstance(item, Text) or (
        isinstance(item, Quantity) and amounts.letters(item.tree) is not None
    )


def _list_and_sequence(listing: Listing, sequence: Sequence) -> Outcome:
    """A list without brackets against a tuple: in its order; pairs (x, y) as named values."""
    if all(isinstance(item, Region) for item in listing.items):
        return _several_regions(listing, sequence)
    return _in_order(listing.items, sequence.items)


def _list_and_value(listing: Listing, other: Quantity) -> Outcome:
    """A list is no value, unless it writes one value in several ways: 3/2 or 1.5."""
    first = listing.items[0]
    if not all(compare(first, item).equal for item in listing.items[1:]):
        return Outcome(False, "a list against a value")
    found = compare(first, other)
    if found.equal and listing.joined != "or" and len(set(listing.items)) < len(listing.items):
        return Outcome(None, "the same value several times")
    return found


def _set_and_value(collection: Collection, other: Quantity) -> Outcome:
    """The set of one value is that value."""
    if len(collection.items) == 1:
        return compare(collection.items[0], other)
    return Outcome(False, "a set against a value")


def _vector_in_letters(quantity: Quantity, other: Shape) -> Outcome:
    """An expression may name a vector by its unit vectors i, j and k, or a matrix by a letter."""
    free = names(quantity.tree)
    named = isinstance(quantity.tree, Name) and quantity.tree.text.isupper()
    units = free in ({"j"}, {"j", "k"}) and isinstance(other, Sequence)
    return Outcome(None if named or units else False, f"a value against {KINDS[type(other)]}")


def _list_and_set(listing: Listing, collection: Collection) -> Outcome:
    return _unordered(listing.items, collection.items, repeats=False)


def _sequences(got: Sequence, want: Sequence) -> Outcome:
    found = _in_order(got.items, want.items)
    plain = {got.brackets, want.brackets} == {"()", "[]"} and len(got.items) == 2
    if found.equal and plain:
        return Outcome(False, "an open interval or a point against a closed interval")
    return found


def _sequence_and_region(sequence: Sequence, region: Region) -> Outcome:
    try:
        return _regions(as_region(sequence), region)
    except Unread:
        return Outcome(False, "a tuple against a region")


def _sequence_and_matrix(sequence: Sequence, matrix: Matrix) -> Outcome:
    if all(isinstance(item, Sequence) for item in sequence.items):
        rows = [Sequence(tuple(map(Quantity, row)), "[]") for row in matrix.rows]
        return _in_order(rows, sequence.items)
    if len(matrix.rows) > 1 and len(matrix.rows[0]) > 1:
        return Outcome(False, "a tuple against a matrix")
    entries = [Quantity(tree) for row in matrix.rows for tree in row]
    return _in_order(entries, sequence.items)


def _matrices(got: Matrix, want: Matrix) -> Outcome:
    sizes = [(len(each.rows), len(each.rows[0])) for each in (got, want)]
    if sizes[0] != sizes[1]:
        return Outcome(False, f"a matrix of {sizes[0]}, not of {sizes[1]}")
    flat = [[Quantity(tree) for row in each.rows for tree in row] for each in (got, want)]
    return _in_order(*flat)


def _regions(got: Region, want: Region) -> Outcome:
    try:
        agreed = regions.equal(got, want)
    except regions.Undecided:
        return Outcome(None, "ends that 60 digits do not tell apart")
    if not agreed and regions.near(got, want):
        return Outcome(None, "ends that may be rounded")
    return Outcome(agreed, "the same region" if agreed else "another region")


def _region_and_points(region: Region, other: Collection | Listing | Quantity) -> Outcome:
    if isinstance(other, Quantity):
        try:
            return _regions(region, as_region(Collection((other,))))
        except Unread:
            return Outcome(False, "a region against a value")
    if isinstance(other, Listing) and all(isinstance(item, Region) for item in other.items):
        return _several_regions(other, region)
    if any(not isinstance(item, Quantity) for item in other.items):
        return Outcome(False, "a region against other things than values")
    try:
        return _regions(region, as_region(Collection(other.items)))
    except Unread as error:
        return Outcome(None, str(error))


def _several_regions(listing: Listing, other: Shape) -> Outcome:
    """Regions in a list: whether all of them hold or one of them is not said."""
    try:
        parts, whole = [as_region(item) for item in listing.items], as_region(other)
        joined = [reduce(join, parts) for join in (regions.union, regions.intersection)]
        if not any(regions.equal(each, whole) for each in joined):
            return Outcome(False, "other regions")
    except Unread as error:
        return Outcome(None, str(error))
    return Outcome(None, "whether all regions hold or one of them")


def _region_and_text(region: Region, text: Text) -> Outcome:
    if text.words == "no solution":
        return Outcome(not region.intervals, "nothing" if not region.intervals else "a region")
    named = text.words.startswith("set ") or " " not in text.words
    return Outcome(False if named else None, "a region against words")


def _relations(got: Relation, want: Relation) -> Outcome:
    if got.signs == want.signs:
        pairs = zip(got.trees, want.trees, strict=True)
        if all(identities.equal(*pair).equal for pair in pairs):
            return amounts.SAME
    if len(got.trees) == len(want.trees) == 2:
        left, right = (minus(each.trees[0], each.trees[1]) for each in (got, want))
        if got.signs == want.signs and identities.proportional(left, right, positive=True):
            return Outcome(True, "the same inequality")
        if identities.linear(left) and identities.linear(right):
            return Outcome(False, "different half-planes")
    solved = _solved(want)
    return Outcome(None, solved) if isinstance(solved, str) else _relation_and_region(got, solved)


def _solved(relation: Relation) -> Region | str:
    """Where an inequality holds, or why algebra is not asked or does not know."""
    whole = reduce(minus, relation.trees)
    if len(names(whole)) != 1 or any(name.endswith("()") for name in functions(whole)):
        return "inequalities in other things than one variable"
    return symbolic.solved(relation)


def _relation_and_region(relation: Relation, region: Region) -> Outcome:
    solved = _solved(relation)
    return Outcome(None, solved) if isinstance(solved, str) else _regions(solved, region)


def _equation_and_list(equation: Equation, listing: Listing) -> Outcome:
    """A list may hold the solutions of an equation in one variable."""
    several = len(names(minus(equation.left, equation.right))) > 1
    return Outcome(False if several else None, "an equation against a list")


def _never(got: Shape, want: Shape) -> Outcome:
    return Outcome(None, f"{KINDS[type(got)]} against {KINDS[type(want)]}")


_RULES: dict[tuple[type, type], Callable[[Any, Any], Outcome]] = {
    (Quantity, Quantity): amounts.quantities,
    (Quantity, Text): lambda got, want: _text_and_value(want, got),
    (Text, Text): _texts,
    (Based, Based): amounts.based,
    (Based, Quantity): amounts.based_and_value,
    (Ratio, Ratio): amounts.ratios,
    (Ratio, Quantity): amounts.ratio_and_value,
    (Listing, Listing): _lists,
    (Listing, Collection): _list_and_set,
    (Listing, Quantity): _list_and_value,
    (Listing, Sequence): _list_and_sequence,
    (Collection, Collection): lambda got, want: _unordered(got.items, want.items, repeats=False),
    (Sequence, Sequence): _sequences,
    (Collection, Quantity): _set_and_value,
    (Quantity, Sequence): _vector_in_letters,
    (Quantity, Matrix): _vector_in_letters,
    (Sequence, Region): _sequence_and_region,
    (Sequence, Matrix): _sequence_and_matrix,
    (Matrix, Matrix): _matrices,
    (Region, Region): _regions,
    (Region, Collection): _region_and_points,
    (Region, Listing): _region_and_points,
    (Region, Quantity): _region_and_points,
    (Region, Text): _region_and_text,
    (Equation, Equation): _equations,
    (Equation, Listing): _equation_and_list,
    (Relation, Relation): _relations,
    (Relation, Region): _relation_and_region,
    (Relation, Listing): _never,
    (Relation, Sequence): _never,
}
