"""From a recipe's tree to its typed sections, or to every fault of it at once.

Numbers written with K, M or B become numbers where the schema wants one. Knows how pydantic words
its errors; the schema itself is in `family.py`, `model.py` and `execution.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from resources.recipe.base import DOMAINS
from resources.recipe.errors import dotted, nearest
from resources.recipe.execution import ExecutionSettings
from resources.recipe.family import Family
from resources.recipe.model import ModelRecipe
from resources.recipe.reading.faults import Fault
from resources.recipe.reading.shape import EXECUTION, MODELS
from resources.recipe.tree import KeyPath, Node, Origin, plain

SCHEMA = "schema"
ORDER = ("nano", "super", "ultra")
SCALES = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
_AMOUNT = re.compile(r"^([-+]?\d+(?:\.\d+)?)\s?([KMB])$")
_NUMERIC = {"int_type", "float_type"}
_Section = TypeVar("_Section", bound=BaseModel)


@dataclass(frozen=True)
class Sections:
    """The typed parts of a recipe; those with faults are missing."""

    family: Family | None
    models: Mapping[str, ModelRecipe]
    execution: ExecutionSettings | None


def amount(text: object) -> int | float | None:
    """The number that a text with K, M or B means; None where it is none.

    >>> amount("100M"), amount("1.5B"), amount("7Q")
    (100000000, 1500000000, None)
    """
    found = _AMOUNT.match(text) if isinstance(text, str) else None
    if found is None:
        return None
    value = float(found[1]) * SCALES[found[2]]
    return int(value) if value.is_integer() else value


def validate(root: Node, name: str) -> tuple[Sections, list[Fault]]:
    """The sections of a recipe called `name`, and every fault of the schema in them."""
    faults: list[Fault] = []
    top = {key: node for key, node in root.value.items() if key not in (MODELS, EXECUTION)}
    # A recipe that does not say its name has its file's.
    top.setdefault("name", Node(re.sub(r"\W+", "_", name.lower()), Origin("default")))
    family = _section(Family, replace(root, value=top), (), faults)
    models: dict[str, ModelRecipe] = {}
    listed = root.value.get(MODELS)
    if listed is None or not isinstance(listed.value, dict) or not listed.value:
        where = f"{listed.origin}: {MODELS}" if listed else str(root.origin.shown)
        faults.append(
            Fault(
                SCHEMA,
                where,
                "no model",
                "extend it with one, such as `models: {smol: {parent: …}}`",
            )
        )
    else:
        for key in sorted(listed.value, key=_place):
            model = _model(str(key), listed.value[key], faults)
            if model is not None:
                models[str(key)] = model
    node = root.value.get(EXECUTION, Node({}, root.origin))
    execution = _section(ExecutionSettings, node, (EXECUTION,), faults)
    return Sections(family, models, execution), faults


def _place(name: object) -> tuple[int, str]:
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
        if "sft" in own:
            own["sft"] = _in_order(own["sft"])
        node = replace(node, value={"name": Node(name, node.origin), **own})
    return _section(ModelRecipe, node, path, faults)


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
    faults += [_fault(each, data, node, path) for each in errors]
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
    context = error.get("ctx", {})
    kind = error["type"]
    if kind in {"unknown_key", "missing_key"}:
        keys.append(context["key"])
    what, remedy = _worded(error, keys, data)
    if kind == "union_tag_not_found" or kind == "union_tag_invalid":
        keys.append("method")
    where = dotted((*start, *keys))
    origin = node.nearest(tuple(keys)).origin
    return Fault(SCHEMA, f"{origin}: {where}" if where else str(origin), what, remedy)


def _worded(error: ErrorDetails, keys: list[Any], data: Any) -> tuple[str, str]:
    """What is wrong, and what would be right where the message does not say so itself."""
    kind, context, found = error["type"], error.get("ctx", {}), error["input"]
    if kind == "unknown_key":
        return f"unknown key '{context['key']}'", str(context["hint"])
    if kind == "missing_key":
        return f"missing key '{context['key']}'", f"add `{context['key']}: …` ({context['what']})"
    if kind == "impossible":
        return error["msg"], ""
    if kind == "literal_error" and error["loc"][-1] == "[key]":
        return f"no domain '{keys[-1]}'", nearest(str(keys[-1]), DOMAINS)
    if kind == "literal_error":
        return f"must be {context['expected']}, found {found!r}", ""
    if kind == "model_type":
        return f"must be a section of keys, found {found!r}", ""
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        for key in keys:
            data = data[key]
        said = data.get("method") if isinstance(data, dict) else None
        wrong = "but is missing" if said is None else f"found {said!r}"
        return f"must be 'rpo_offline', 'rpo_online' or 'grpo', {wrong}", ""
    wording = error["msg"].replace("Input should be", "must be")
    wording = wording.replace("String should", "must").replace("List should", "must")
    return f"{wording}, found {found!r}", ""
