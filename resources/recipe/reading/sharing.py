"""Values that stand once for many sections: `each` in a mapping of names, and `optimizer` and
`reinforcement` at the top.

`each` beside names is merged under every one of them; `optimizer` under every section that is
trained, `reinforcement` over that under those of RL. What a section says itself goes before all.
Knows which sections train, no more.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from resources.recipe.base import Optimizer
from resources.recipe.errors import RecipeError, nearest
from resources.recipe.reading import shape
from resources.recipe.reinforcement import PolicyGradient, Preference
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
    found = shape.sections(path)
    if not found or not all(issubclass(each, kinds) for each in found):
        return here
    merged = merge(shared, here)
    return replace(merged, origin=node.origin)
