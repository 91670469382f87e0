"""Values that stand once for many sections: `each` in a mapping of names, and `optimizer`.

`each` beside names is merged under every one of them; the top-level `optimizer` under every section
that is trained. What a section says itself goes before both. Knows which sections train, no more.
"""

from __future__ import annotations

from dataclasses import replace

from resources.recipe.base import Optimizer
from resources.recipe.errors import RecipeError, nearest
from resources.recipe.reading import shape
from resources.recipe.tree import KeyPath, Node, merge

EACH, OPTIMIZER = "each", "optimizer"


def spread(root: Node) -> Node:
    """The recipe with everything shared written where it belongs.

    Raises:
        RecipeError: `each` or `optimizer` is no mapping, or names what no optimizer has.
    """
    root = _each(root)
    shared = root.value.get(OPTIMIZER)
    if shared is None:
        return root
    root = replace(root, value={k: v for k, v in root.value.items() if k != OPTIMIZER})
    if not isinstance(shared.value, dict):
        raise RecipeError(f"{shared.origin}: {OPTIMIZER}: must be a mapping of optimizer settings")
    for key, node in shared.value.items():
        if key not in Optimizer.model_fields:
            raise RecipeError(
                f"{node.origin}: {OPTIMIZER}.{key}: unknown key '{key}'; "
                f"{nearest(str(key), Optimizer.model_fields)}"
            )
    return _trained(root, shared, ())


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


def _trained(node: Node, shared: Node, path: KeyPath) -> Node:
    if isinstance(node.value, list):
        inner = [_trained(child, shared, (*path, i)) for i, child in enumerate(node.value)]
        return replace(node, value=inner)
    if not isinstance(node.value, dict):
        return node
    children = {key: _trained(child, shared, (*path, key)) for key, child in node.value.items()}
    here = replace(node, value=children)
    found = shape.sections(path)
    if not found or not all(issubclass(each, Optimizer) for each in found):
        return here
    merged = merge(shared, here)
    return replace(merged, origin=node.origin)
