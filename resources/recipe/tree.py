"""A recipe as a tree whose every value knows where it was written; merging, and reading paths.

Knows neither YAML nor what any key means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]

# A section has one of two forms where these keys exclude each other: the one written over a base
# takes the other's keys out.
INSTEAD = {"mix": ("documents", "max_tokens", "domains"), "domains": ("mix",)}


@dataclass(frozen=True)
class Origin:
    """Where a value was written: `shown` (a file, `--set`, `default`), its line, and the folder
    that its relative paths start from."""

    shown: str
    line: int | None = None
    folder: Path | None = None

    def __str__(self) -> str:
        return self.shown if self.line is None else f"{self.shown}:{self.line}"


@dataclass(frozen=True)
class Mark:
    """Why a value is what it is: a publication (`source`), or why a default was chosen."""

    source: str | None = None
    undisclosed: str | None = None

    @property
    def text(self) -> str:
        """The mark as shown in the docs."""
        if self.source is not None:
            return self.source
        return f"undisclosed, chosen default: {self.undisclosed}"


@dataclass(frozen=True)
class Node:
    """A value: a scalar, a `dict` of nodes or a `list` of nodes. One that a null took out is
    `removed`; it stands until nothing more is merged, so that nothing below it shows again."""

    value: Any
    origin: Origin
    mark: Mark | None = None
    removed: bool = False

    def child(self, key: str | int) -> Node | None:
        """The node under a key or at a position; None where there is none.

        Whole numbers are found under either spelling, as a schema knows them by another type.
        """
        if isinstance(self.value, dict):
            for known, node in self.value.items():
                if known == key or str(known) == str(key):
                    return node if isinstance(node, Node) else None
        elif isinstance(self.value, list) and str(key).isdigit() and int(key) < len(self.value):
            found: Node = self.value[int(key)]
            return found
        return None

    def at(self, path: KeyPath) -> Node | None:
        """The node at a path from here; None where there is none."""
        node: Node | None = self
        for key in path:
            node = node.child(key) if node is not None else None
        return node

    def nearest(self, path: KeyPath) -> Node:
        """The node at the longest part of a path that exists."""
        node = self
        for key in path:
            inner = node.child(key)
            if inner is None:
                break
            node = inner
        return node


def plain(node: Node) -> Any:
    """The values alone."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def leaves(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """Every scalar and every empty collection, with its path."""
    children: Any = ()
    if isinstance(node.value, dict):
        children = node.value.items()
    elif isinstance(node.value, list):
        children = enumerate(node.value)
    if not children:
        yield path, node
    for key, child in children:
        yield from leaves(child, (*path, key))


def marks(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """Every marked value with its path, outermost first."""
    if node.mark is not None:
        yield path, node
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from marks(child, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from marks(child, (*path, index))


def merge(base: Node, over: Node) -> Node:
    """`over` on `base`: mappings merge deeply, scalars and lists replace, null takes a key out.

    A null where the base has no such key stays, as a value. A key takes out those of the base that
    it stands in place of. A mark stays with what it marks: that of a mapping goes to those of its
    values that stay.
    """
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    if not over.value:
        return replace(base, origin=over.origin)
    merged = {
        key: replace(child, mark=child.mark or base.mark) for key, child in base.value.items()
    }
    merged = _of_one_form(merged, over.value)
    for key, child in over.value.items():
        if key not in merged:
            merged[key] = child
        elif child.value is None:
            below = merged[key]
            merged[key] = replace(child, removed=below.removed or below.value is not None)
        else:
            merged[key] = merge(merged[key], child)
    return Node(merged, over.origin, over.mark)


def _of_one_form(base: dict[Any, Node], over: Iterable[Any]) -> dict[Any, Node]:
    """`base` with what the keys `over` stand in place of taken out."""
    gone = {other for key in over for other in INSTEAD.get(str(key), ())} - set(over)
    return {k: replace(child, removed=True) if k in gone else child for k, child in base.items()}


def swept(node: Node) -> Node:
    """The tree without what nulls took out."""
    if isinstance(node.value, dict):
        kept = {key: swept(child) for key, child in node.value.items() if not child.removed}
        return replace(node, value=kept)
    if isinstance(node.value, list):
        return replace(node, value=[swept(child) for child in node.value])
    return node


def put(node: Node, path: KeyPath, value: Node) -> Node:
    """The tree with `value` merged at `path`; mappings on the way are made where there are none.

    Raises:
        KeyError: the path leads through a scalar, or to no position of a list; its argument is the
            part of the path that is there.
    """
    if not path:
        return merge(node, value)
    key, rest = path[0], path[1:]
    inner = node.child(key)
    if isinstance(node.value, list):
        if inner is None:
            raise KeyError(())
        children = list(node.value)
        try:
            children[int(key)] = put(inner, rest, value)
        except KeyError as error:
            raise KeyError((key, *error.args[0])) from None
        return replace(node, value=children)
    if not isinstance(node.value, dict):
        raise KeyError(())
    known = next((k for k in node.value if k == key or str(k) == str(key)), key)
    if not rest and value.value is None and inner is not None:
        gone = replace(value, removed=inner.removed or inner.value is not None)
        return replace(node, value={**node.value, known: gone})
    try:
        start = inner if inner is not None else Node({}, value.origin)
        made = put(start, rest, value)
    except KeyError as error:
        raise KeyError((key, *error.args[0])) from None
    return replace(node, value={**_of_one_form(node.value, (known,)), known: made})
