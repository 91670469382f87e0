"""Values that stand once for many sections: `each` in a mapping of names, and `optimizer` and
`reinforcement` at the top.

`each` beside names is merged under every one of them; `optimizer` under every section that is
trained, `reinforcement` over that under those of RL. What a section says itself goes before all.
Knows which sections train, no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace

from resources.recipe.errors import RecipeError, dotted, nearest
from resources.recipe.reading import shape
from resources.recipe.reading.faults import Fault
from resources.recipe.sections.base import Optimizer
from resources.recipe.sections.reinforcement import PolicyGradient, Preference
from resources.recipe.tree import KeyPath, Node, merge

EACH = "each"


@dataclass(frozen=True)
class Shared:
    """A top-level mapping: under sections of which kinds it is merged, and what it may say."""

    key: str
    sections: tuple[type, ...]
    known: Set[str]


SHARED = (
    Shared(
        "reinforcement",
        (PolicyGradient, Preference),
        PolicyGradient.model_fields.keys() & Preference.model_fields.keys(),
    ),
    Shared("optimizer", (Optimizer,), Optimizer.model_fields.keys()),
)


def keys(path: KeyPath) -> list[str]:
    """The keys of what is shared, at the top of a recipe and inside each; none elsewhere."""
    if not path:
        return [shared.key for shared in SHARED]
    return [key for shared in SHARED if path == (shared.key,) for key in sorted(shared.known)]


def shared_values(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """What a recipe that is not spread yet says once for many sections, each value with its path.

    Lists are values; what is taken out, or says nothing, is none.
    """
    if isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from shared_values(child, (*path, index))
    if not isinstance(node.value, dict):
        return
    shared = {each.key for each in SHARED} if not path else set()
    for key, child in node.value.items():
        inside = (*path, key)
        yield from (
            _values(child, inside) if key in shared | {EACH} else shared_values(child, inside)
        )


def _values(node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, Node]]:
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _values(child, (*path, key))
    elif node.value not in (None, []) and not node.removed:
        yield path, node


def told_once(faults: Iterable[Fault], shared: Iterable[tuple[KeyPath, Node]]) -> list[Fault]:
    """The faults, one of a shared value once and where it was written, not in every section."""
    said = [(str(node.origin), dotted(path), _inside(path)) for path, node in shared]
    found: dict[Fault, None] = {}
    for fault in faults:
        for origin, whole, inside in said:
            if fault.where.startswith(f"{origin}: ") and fault.where.endswith(f".{inside}"):
                fault = replace(fault, where=f"{origin}: {whole}")
        found[fault] = None
    return list(found)


def _inside(path: KeyPath) -> str:
    """The path of a shared value in a section that has it."""
    return dotted(path[path.index(EACH) + 1 :] if EACH in path else path[1:])


def takers(root: Node, path: KeyPath) -> Iterator[KeyPath]:
    """Where a recipe that is spread has what was given once at a path."""
    shared = {each.key: each.sections for each in SHARED}
    if path[0] in shared:
        yield from _trained(root, shared[str(path[0])], str(path[1]), ())
        return
    before, inside = path[: path.index(EACH)], path[path.index(EACH) + 1 :]
    named = root.at(before)
    for name in named.value if named is not None and isinstance(named.value, dict) else ():
        if root.at((*before, name, *inside)) is not None:
            yield (*before, name, *inside)


def _trained(node: Node, kinds: tuple[type, ...], key: str, path: KeyPath) -> Iterator[KeyPath]:
    """Where a section of the kinds has a key."""
    inner = node.value.items() if isinstance(node.value, dict) else ()
    for name, child in enumerate(node.value) if isinstance(node.value, list) else inner:
        yield from _trained(child, kinds, key, (*path, name))
    if _are(path, kinds) and node.child(key) is not None:
        yield (*path, key)


def spread(root: Node) -> Node:
    """The recipe with everything shared written where it belongs.

    Raises:
        RecipeError: what is shared is no mapping, or names what its sections do not have.
    """
    root = _each(root)
    for shared in SHARED:
        root = _spread(root, shared)
    return root


def _spread(root: Node, shared: Shared) -> Node:
    node = root.value.get(shared.key)
    if node is None:
        return root
    root = replace(root, value={k: v for k, v in root.value.items() if k != shared.key})
    if not isinstance(node.value, dict):
        raise RecipeError(f"{node.origin}: {shared.key}: must be a mapping of settings")
    for key, child in node.value.items():
        if key not in shared.known:
            raise RecipeError(
                f"{child.origin}: {shared.key}.{key}: unknown key '{key}'; "
                f"{nearest(str(key), sorted(shared.known))}"
            )
    return _under(root, node, shared.sections, ())


def _each(node: Node) -> Node:
    if isinstance(node.value, list):
        return replace(node, value=[_each(child) for child in node.value])
    if not isinstance(node.value, dict):
        return node
    shared = node.value.get(EACH)
    named = {key: child for key, child in node.value.items() if key != EACH}
    if shared is not None:
        if not isinstance(shared.value, dict):
            raise RecipeError(f"{shared.origin}: {EACH}: must be a mapping, for all beside it")
        named = {
            key: merge(shared, child) if isinstance(child.value, dict) else child
            for key, child in named.items()
        }
    return replace(node, value={key: _each(child) for key, child in named.items()})


def _under(node: Node, shared: Node, kinds: tuple[type, ...], path: KeyPath) -> Node:
    """The tree with `shared` merged under every section of the kinds."""
    if isinstance(node.value, list):
        inner = [_under(child, shared, kinds, (*path, i)) for i, child in enumerate(node.value)]
        return replace(node, value=inner)
    if not isinstance(node.value, dict):
        return node
    children = {
        key: _under(child, shared, kinds, (*path, key)) for key, child in node.value.items()
    }
    here = replace(node, value=children)
    if not _are(path, kinds):
        return here
    merged = merge(shared, here)
    return replace(merged, origin=node.origin)


def _are(path: KeyPath, kinds: tuple[type, ...]) -> bool:
    """Whether what stands at a path is a section of the kinds."""
    found = shape.sections(path)
    return bool(found) and all(issubclass(each, kinds) for each in found)
