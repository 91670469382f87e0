"""From a recipe's tree to its typed sections, or to every fault of it at once.

Numbers written with K, M or B become numbers where the schema wants one. How a fault is worded
stands in `wording.py`; the schema itself is in `../sections`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from resources.recipe.errors import dotted, nearest
from resources.recipe.naming import nearest_name, shown
from resources.recipe.reading import shape, sharing
from resources.recipe.reading.faults import Fault
from resources.recipe.reading.shape import EXECUTION, MODELS
from resources.recipe.reading.wording import amount, worded
from resources.recipe.sections.execution import ExecutionSettings
from resources.recipe.sections.family import Family
from resources.recipe.sections.model import ModelRecipe, Sft
from resources.recipe.tree import KeyPath, Node, Origin, plain

SCHEMA = "schema"
EXAMPLE = "`models: {smol: {parent: …}}`"
ORDER = ("nano", "super", "ultra")
_NUMERIC = {"int_type", "float_type"}
BESIDE = ("extends", *sharing.keys(()))  # at the top of a recipe, beside its sections
_Section = TypeVar("_Section", bound=BaseModel)


@dataclass(frozen=True)
class Sections:
    """The typed parts of a recipe; those with faults are missing."""

    family: Family | None
    models: Mapping[str, ModelRecipe]
    execution: ExecutionSettings | None


def validate(root: Node, name: str) -> tuple[Sections, list[Fault]]:
    """The sections of a recipe called `name`, and every fault of the schema in them."""
    faults: list[Fault] = []
    top = {key: node for key, node in root.value.items() if key not in (MODELS, EXECUTION)}
    # A recipe that does not say its name has its file's.
    top.setdefault("name", Node(nearest_name(name), Origin("default")))
    family = _section(Family, replace(root, value=top), (), faults)
    models: dict[str, ModelRecipe] = {}
    listed = root.value.get(MODELS)
    if listed is None or not isinstance(listed.value, dict) or not listed.value:
        given = plain(listed) if listed is not None else None
        origin = listed.origin if listed and given else root.origin
        what = f"must be a mapping of models by name, found {shown(given)}" if given else "no model"
        remedy = f"{'write' if given else 'extend it with one, such as'} {EXAMPLE}"
        faults.append(Fault(SCHEMA, f"{origin}: {MODELS}", what, remedy))
    else:
        for key in sorted(listed.value, key=_turn):
            model = _model(str(key), listed.value[key], faults)
            if model is not None:
                models[str(key)] = model
    node = root.value.get(EXECUTION, Node({}, root.origin))
    execution = _section(ExecutionSettings, node, (EXECUTION,), faults)
    return Sections(family, models, execution), faults


def _turn(name: object) -> tuple[int, str]:
    text = str(name)
    return ORDER.index(text) if text in ORDER else len(ORDER), text


def _model(name: str, node: Node, faults: list[Fault]) -> ModelRecipe | None:
    path: KeyPath = (MODELS, name)
    if isinstance(node.value, dict):
        said = node.value.get("name")
        if said is not None and said.value != name:
            faults.append(
                Fault(
                    SCHEMA,
                    f"{said.origin}: {dotted((*path, 'name'))}",
                    f"'{said.value}' differs from the name that it stands under",
                    f"write '{name}', or leave it out",
                )
            )
        own = {key: child for key, child in node.value.items() if key != "name"}
        given = own.get("sft")
        if given is not None:
            own["sft"] = _in_order(given)
        found: list[Fault] = []
        flat = _one_stage(given, (*path, "sft"))
        if flat is not None:
            own.pop("sft")
            found.append(flat)
        node = replace(node, value={"name": Node(name, node.origin), **own})
        made = _section(ModelRecipe, node, path, found)
        for each in found:
            where = _by_name(each.where, given)
            faults.append(replace(each, where=where if said else _of_key(where, path)))
        return made
    return _section(ModelRecipe, node, path, faults)


def _of_key(where: str, path: KeyPath) -> str:
    """A place of a name that nobody wrote: the key under which its section stands."""
    return re.sub(rf"({re.escape(dotted(path))}(\.sft\.[^.]+)?)\.name$", r"\1", where)


def _one_stage(sft: Node | None, path: KeyPath) -> Fault | None:
    """A fault where an SFT stage's own settings stand where stages stand by name."""
    if sft is None or not isinstance(sft.value, dict):
        return None
    settings = [
        str(key)
        for key, part in sft.value.items()
        if key in Sft.model_fields and part.value is not None and not isinstance(part.value, dict)
    ]
    if not settings:
        return None
    what = f"holds stages by name, found {', '.join(settings)}"
    remedy = f"write {{main: {{{', '.join(f'{each}: …' for each in settings)}}}}}"
    return Fault(SCHEMA, f"{sft.origin}: {dotted(path)}", what, remedy)


def _by_name(where: str, sft: Node | None) -> str:
    """A place in an SFT stage under the name that the stage was written under."""
    named = sft.value if sft is not None and isinstance(sft.value, dict) else {}
    kept = [key for key, part in named.items() if part.value is not None]
    return (
        re.sub(r"\bsft\[(\d+)\]", lambda found: f"sft.{kept[int(found[1])]}", where)
        if kept
        else where
    )


def _in_order(sft: Node) -> Node:
    """SFT stages that stand under their names as the list that they are run in."""
    if not isinstance(sft.value, dict):
        return sft
    named = [
        replace(part, value={"name": Node(str(key), part.origin), **part.value})
        if isinstance(part.value, dict)
        else part
        for key, part in sft.value.items()
        if part.value is not None  # taken away from a base
    ]
    return replace(sft, value=named)


def _section(
    kind: type[_Section], node: Node, path: KeyPath, faults: list[Fault]
) -> _Section | None:
    data = plain(node)
    errors: list[ErrorDetails] = []
    for _ in range(2):  # once more after amounts became numbers
        try:
            return kind.model_validate(data)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        if not [_scaled(data, each) for each in errors if each["type"] in _NUMERIC].count(True):
            break
    # Of a value of the right type that is wrong, that another type would do is not said.
    typed = {tuple(_path(e["loc"], data)) for e in errors if not e["type"].endswith("_type")}
    for each in errors:
        if not each["type"].endswith("_type") or tuple(_path(each["loc"], data)) not in typed:
            faults.append(_fault(each, data, node, path))
    return None


def _scaled(data: Any, error: ErrorDetails) -> bool:
    """Put the number in place of an amount; whether there was one."""
    number = amount(error["input"])
    keys = _path(error["loc"], data)
    if number is None or not keys:
        return False
    for key in keys[:-1]:
        data = data[key]
    data[keys[-1]] = number
    return True


def _path(loc: Iterable[str | int], data: Any) -> list[Any]:
    """The keys of an error's place that the data have: pydantic also names types there."""
    path: list[Any] = []
    for part in loc:
        if isinstance(data, dict):
            key = next((k for k in data if k == part or str(k) == str(part)), None)
            if key is None:
                continue
            path.append(key)
            data = data[key]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
    return path


def _fault(error: ErrorDetails, data: Any, node: Node, start: KeyPath) -> Fault:
    keys: list[Any] = _path(error["loc"], data)
    kind = error["type"]
    if kind == "unknown_key":
        error["ctx"]["hint"] = _elsewhere(
            (*start, *keys), error["ctx"]["key"], error["ctx"]["hint"]
        )
    if kind in {"unknown_key", "missing_key"}:
        keys.append(error.get("ctx", {})["key"])
    below = (0,) if kind == "list_type" else ()
    what, remedy = worded(error, keys, data, _needs((*start, *keys, *below)))
    if kind == "union_tag_not_found" or kind == "union_tag_invalid":
        keys.append("method")
    if kind == "impossible":
        inner, what = _place(what, node.at(tuple(keys)))
        keys += inner
    where = dotted((*start, *keys))
    origin = node.nearest(tuple(keys)).origin
    return Fault(SCHEMA, f"{origin}: {where}" if where else str(origin), what, remedy)


def _elsewhere(path: KeyPath, key: str, hint: str) -> str:
    """What to do about a key that the section at a path does not have: where it belongs, if it is
    one of another level, else the key that it nearly is."""
    if path:
        there = key in (*shape.top(), *BESIDE)
        return f"{key} stands at the top of a recipe" if there else hint
    if key in ModelRecipe.model_fields:
        return f"it stands under a model, {MODELS}.NAME.{key}"
    return nearest(key, (*shape.top(), *BESIDE))


def _needs(path: KeyPath) -> str:
    """How a section that may stand at a path begins, with the keys that it cannot do without."""
    begun = []
    for section in shape.sections(path):
        keys = [name for name, field in section.model_fields.items() if field.is_required()]
        keys = [name for name in keys if name != "name"]
        begun.append(f"{{{', '.join(f'{key}: …' for key in keys or ['NAME'])}}}")
    return f"write {' or '.join(begun)}" if begun else ""


def _place(said: str, node: Node | None) -> tuple[list[str], str]:
    """The key path below a section that a message about it begins with, and what is said of it."""
    head, colon, rest = said.partition(": ")
    path = head.split(".")
    if (
        not colon
        or " " in head
        or node is None
        or not isinstance(node.value, dict)
        or node.child(path[0]) is None
    ):
        return [], said
    return path, rest
