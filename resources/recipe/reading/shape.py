"""What may stand where in a recipe, read off the schema's types; knows no values."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from resources.recipe.sections.execution import ExecutionSettings
from resources.recipe.sections.family import Family
from resources.recipe.sections.model import ModelRecipe
from resources.recipe.tree import KeyPath

MODELS, EXECUTION = "models", "execution"


def top() -> Mapping[str, Any]:
    """The keys at the top of a recipe and their types."""
    sections: dict[str, Any] = {
        name: field.annotation for name, field in Family.model_fields.items()
    }
    return {**sections, MODELS: dict[str, ModelRecipe], EXECUTION: ExecutionSettings}


def at(path: KeyPath) -> list[Any]:
    """The types that a path may hold; none where the schema has no such place."""
    if not path:
        return []
    found = [annotation for key, annotation in top().items() if key == path[0]]
    for key in path[1:]:
        found = [inner for each in found for inner in _step(each, key)]
    return found


def sections(path: KeyPath) -> list[type[BaseModel]]:
    """The sections that a path may hold."""
    return [each for found in at(path) for each in _flat(found) if _is_section(each)]


def keys(path: KeyPath) -> list[str] | None:
    """The keys that the schema knows under a path; None where they are the writer's own names."""
    if not path:
        return list(top())
    found = [each for annotation in at(path) for each in _flat(annotation)]
    if any(get_origin(each) is dict or _open(each) or _by_name(each) for each in found):
        return None
    return list(dict.fromkeys(k for each in found if _is_section(each) for k in each.model_fields))


def _step(annotation: Any, key: str | int) -> Iterator[Any]:
    for each in _flat(annotation):
        if get_origin(each) is dict:
            yield get_args(each)[1]
        elif _by_name(each) or (get_origin(each) is list and str(key).isdigit()):
            yield get_args(each)[0]
        elif _open(each):
            keys, names = (each.model_fields[part].annotation for part in each.parts)
            yield from list(_step(keys, key)) or _step(names, key)
        elif _is_section(each) and key in each.model_fields:
            yield each.model_fields[str(key)].annotation


def _flat(annotation: Any) -> Iterator[Any]:
    """The alternatives of a type, without their annotations."""
    if get_origin(annotation) is Annotated:
        yield from _flat(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _flat(each)
    else:
        yield annotation


def _open(annotation: Any) -> bool:
    """Whether it is a section that holds the writer's own names beside its keys."""
    return _is_section(annotation) and getattr(annotation, "parts", None) is not None


def _by_name(annotation: Any) -> bool:
    """Whether it is a list that may also be a mapping, by its sections' names."""
    inner: Any = get_args(annotation)[0] if get_origin(annotation) is list else None
    return _is_section(inner) and "name" in inner.model_fields


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
