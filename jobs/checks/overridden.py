"""Values that stand once for many sections (`optimizer`, `reinforcement`, `each`) and reach none.

What a section says itself, or a base of it, goes before what is shared: a shared value that every
section overrides is read by nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.checks.asked import Asked, Finding
from resources.recipe.errors import dotted
from resources.recipe.reading.faults import Fault
from resources.recipe.reading.finding import PREFIX
from resources.recipe.reading.shape import MODELS
from resources.recipe.reading.sharing import EACH, takers
from resources.recipe.schema import Recipe
from resources.recipe.tree import KeyPath, leaves


def overridden(asked: Asked) -> Iterator[Finding]:
    """Shared values of a person's own that no section which runs has."""
    recipe = asked.recipe
    chosen = any(model.stages is not None for model in recipe.models.values())
    # A value is the one that was written where it still says so: copies keep their origin.
    reached = {id(leaf.origin): path for path, leaf in leaves(recipe.tree)}
    running = {origin for origin, path in reached.items() if _runs(recipe, path)}
    for keys, node in recipe.shared:
        spent = reached.keys() if EACH in keys else running
        own = not str(node.origin).startswith(PREFIX)
        if not own or any(id(leaf.origin) in spent for _, leaf in leaves(node)):
            continue
        where = f"{node.origin}: {dotted(keys)}"
        yield Fault("", where, *_said(recipe, keys), stops=not chosen)


def _runs(recipe: Recipe, path: KeyPath) -> bool:
    """Whether what stands at a path is of no stage that a model's `stages` leave out."""
    model = recipe.models.get(str(path[1])) if path[:1] == (MODELS,) and len(path) > 2 else None
    if model is None or model.stages is None or path[2] not in model.stage_fields():
        return True
    return path[2] in model.stages


def _said(recipe: Recipe, keys: KeyPath) -> tuple[str, str]:
    """What is wrong with a shared value, and what would be right."""
    found = [path for path in takers(recipe.tree, keys) if _runs(recipe, path)]
    if not found:
        what = "nothing beside it takes it" if EACH in keys else "no section that runs takes it"
        return what, "leave it out"
    first, *more = found
    origin = recipe.tree.nearest(first).origin
    others = f" and {len(more)} more" if more else ""
    return (
        f"every section says its own, which goes before it: {dotted(first)} ({origin}){others}",
        "set it there, or leave it out",
    )
