"""Loading a recipe folder: read, take marks out, check the schema, then across sections.

Every refusal is one line: file, key path, what is wrong, what would be right.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from resources.recipe import paths
from resources.recipe.base import DOMAINS
from resources.recipe.errors import RecipeError, dotted, nearest
from resources.recipe.execution import Execution
from resources.recipe.family import Family
from resources.recipe.model import ModelRecipe
from resources.recipe.reading import Source, read, unwrap
from resources.recipe.schema import Recipe, disagreements

HERE = Path(__file__).resolve().parent
ORDER = ("nano", "super", "ultra")
_Model = TypeVar("_Model", bound=BaseModel)


def names() -> list[str]:
    """Return the recipes that come with the package."""
    return sorted(path.parent.name for path in HERE.glob("*/family.yaml"))


def load(name_or_dir: str | Path, *, check_paths: bool = True) -> Recipe:
    """Load a recipe that comes with the package (by name) or a recipe folder (by path).

    A folder holds `family.yaml`, one YAML file a model, and optionally `execution.yaml`. With
    `check_paths`, local parent, teacher and tokenizer folders must exist.

    Raises:
        RecipeError: one line naming the file, the key path and what would be right.
    """
    directory = _find(name_or_dir)
    sources: dict[str, Source] = {}
    family = _section(directory / "family.yaml", Family, sources)
    stems = sorted(
        (path.stem for path in directory.glob("*.yaml")),
        key=lambda stem: (ORDER.index(stem) if stem in ORDER else len(ORDER), stem),
    )
    models: dict[str, ModelRecipe] = {}
    for stem in stems:
        if stem in {"family", "execution"}:
            continue
        path = directory / f"{stem}.yaml"
        model = _section(path, ModelRecipe, sources)
        if model.name != stem:
            raise RecipeError(
                f"{_shown(path)}: name: '{model.name}' differs from the file's name; "
                f"write '{stem}' or rename the file"
            )
        models[stem] = model
    if not models:
        raise RecipeError(f"{_shown(directory)}: no model; add one, such as nano.yaml")
    execution_file = directory / "execution.yaml"
    execution = _section(execution_file, Execution, {}) if execution_file.is_file() else Execution()
    for where, message in disagreements(family, models):
        stem, _, key = where.partition(".")
        raise RecipeError(f"{_shown(directory / f'{stem}.yaml')}: {key}: {message}")
    if check_paths:
        _check_paths(directory, family, models)
    return Recipe(directory.name, directory, family, models, execution, sources)


def _find(name_or_dir: str | Path) -> Path:
    bundled = HERE / str(name_or_dir)
    if str(name_or_dir) in names():
        return bundled
    directory = Path(name_or_dir).expanduser()
    if (directory / "family.yaml").is_file():
        return directory.resolve()
    if directory.is_dir():
        raise RecipeError(f"{directory}: has no family.yaml; a recipe folder needs one")
    raise RecipeError(
        f"no recipe '{name_or_dir}'; {nearest(str(name_or_dir), names())}, or give a recipe folder"
    )


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _section(path: Path, kind: type[_Model], sources: dict[str, Source]) -> _Model:
    shown = _shown(path)
    plain, marks = unwrap(read(path, shown), shown)
    try:
        section = kind.model_validate(plain)
    except ValidationError as error:
        details = error.errors(include_url=False)
        rest = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        raise RecipeError(f"{shown}: {_describe(details[0], plain)}{rest}") from None
    sources.update({dotted((path.stem, *key)): mark for key, mark in marks.items()})
    return section


def _describe(error: ErrorDetails, data: Any) -> str:
    """Word one pydantic error: key path, what is wrong, what was found."""
    path: list[str | int] = []
    node = data
    for part in error["loc"]:
        if isinstance(node, dict):
            key = next((k for k in node if k == part or str(k) == str(part)), None)
            if key is None:
                continue
            path.append(key)
            node = node[key]
        elif isinstance(node, list) and isinstance(part, int):
            path.append(part)
            node = node[part]
    context = error.get("ctx", {})
    if error["type"] in {"unknown_key", "missing_key"}:
        path.append(context["key"])
    where = dotted(path)
    message = error["msg"]
    if error["type"] == "literal_error" and error["loc"][-1] == "[key]":
        return f"{where}: no domain '{path[-1]}'; {nearest(str(path[-1]), DOMAINS)}"
    if error["type"] == "literal_error":
        return f"{where}: must be {context['expected']}, found {error['input']!r}"
    if error["type"] == "model_type":
        return f"{where}: must be a section of keys, found {error['input']!r}"
    if error["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        found = node.get("method") if isinstance(node, dict) else None
        return (
            f"{where}.method: must be 'rpo_offline', 'rpo_online' or 'grpo', "
            f"{'but is missing' if found is None else f'found {found!r}'}"
        )
    if error["type"] in {"unknown_key", "missing_key", "impossible"}:
        return f"{where}: {message}" if where else message
    wording = message.replace("Input should be", "must be")
    wording = wording.replace("String should", "must").replace("List should", "must")
    return f"{where}: {wording}, found {error['input']!r}"


def _check_paths(directory: Path, family: Family, models: dict[str, ModelRecipe]) -> None:
    wanted = [
        ("family", "tokenizer", family.tokenizer, "tokenizer.json"),
        ("family", "teacher", family.teacher, "config.json"),
        *((name, "parent", model.parent, "config.json") for name, model in models.items()),
    ]
    if family.reward_model.pretrained is not None:
        wanted.append(
            ("family", "reward_model.pretrained", family.reward_model.pretrained, "config.json")
        )
    for stem, key, path, marker in wanted:
        try:
            paths.check(path, directory, marker)
        except RecipeError as error:
            shown = _shown(directory / f"{stem}.yaml")
            raise RecipeError(f"{shown}: {key}: {error}") from None
