"""Parents and teacher: whether what the recipe names can be taken in, from small files alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from jobs.checks.asked import Asked, Finding
from resources.pretrained.source import ParentSource
from resources.recipe.tree import KeyPath


def parents(asked: Asked) -> Iterator[Finding]:
    """A configuration of no supported family, weights that do not fit it, an unusable tokenizer."""
    from resources.models.errors import CheckpointError
    from resources.pretrained.checking import described_faults, faults

    for keys, source, role in named(asked):
        if asked.offline and source.kind == "hub":
            yield f"{keys[-2] if len(keys) > 1 else role}: not looked at, {source} (--offline)"
            continue
        try:
            found = described_faults(source, asked.description(source), role)
        except CheckpointError as error:
            found = [str(error)]
        folder = Path(source.location)
        if found and source.kind == "folder" and folder.is_dir() and any(folder.iterdir()):
            # What the small files say too: a folder whose weights are missing is not looked into.
            found += [each for each in faults(folder, role, weights=False) if each not in found]
        for line in found:
            yield asked.fault(keys, line)
        if not found:
            yield f"{source.name}: can be taken in as {role}"
            yield from _moved(asked, keys, source)


def _moved(asked: Asked, keys: KeyPath, source: ParentSource) -> Iterator[Finding]:
    """A branch of the hub that is at another commit than when this home first read it."""
    from resources.pretrained.hub import moved

    first = asked.commits.get(str(source))
    if source.kind != "hub" or first is None:
        return
    now = moved(source.at(first))
    if now is not None:
        yield asked.fault(
            keys,
            f"{source} is commit {now} by now; this home keeps to {first}, which it first read",
            f"write {source.location}@{first} to say so, or @{now} to take the newer one",
            stops=False,
        )


def named(
    asked: Asked,
) -> Iterator[tuple[KeyPath, ParentSource, Literal["parent", "teacher"]]]:
    """Every given model of the recipe with where it stands."""
    recipe = asked.recipe
    for name, model in recipe.models.items():
        yield ("models", name, "parent"), recipe.parent_source(model.parent), "parent"
    family = recipe.family
    if family.given_teacher is not None:
        yield family.teacher_key, recipe.parent_source(family.given_teacher), "teacher"
