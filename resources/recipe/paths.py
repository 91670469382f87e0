"""What a path in a recipe means, and whether it is there; knows no schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.pretrained import source as sources
from resources.pretrained.source import ParentSource, SourceError
from resources.recipe.errors import RecipeError


def parent_source(value: str | Mapping[str, Any], directory: Path) -> ParentSource:
    """Return the given model that a value of a recipe in `directory` names.

    Raises:
        RecipeError: it names none; see `resources.pretrained.source.parse`.
    """
    try:
        return sources.parse(value, directory)
    except SourceError as error:
        raise RecipeError(str(error)) from None


def local(path: str, directory: Path) -> Path:
    """Return the absolute path of a file that a recipe in `directory` names.

    >>> local("/data/profile.json", Path("recipes"))
    PosixPath('/data/profile.json')
    """
    return (directory / Path(path).expanduser()).resolve()


def check(source: ParentSource) -> None:
    """Refuse a local folder without a `config.json`, and files that are not there.

    Hub ids pass: what they hold is known once they are asked.

    Raises:
        RecipeError: a folder, its configuration, a GGUF file, a tokenizer or a template is missing.
    """
    found = Path(source.location)
    if source.kind == "gguf" and not found.is_file():
        raise RecipeError(f"no file {found}; give an existing GGUF file")
    if source.kind == "folder":
        if not found.is_dir():
            raise RecipeError(f"no folder {found}; give an existing one or a hub id org/name")
        if not (found / "config.json").is_file():
            raise RecipeError(f"{found} has no config.json; {_instead(found)}")
    if source.tokenizer is not None and not (Path(source.tokenizer) / "tokenizer.json").is_file():
        raise RecipeError(f"{source.tokenizer} has no tokenizer.json; give a tokenizer's folder")
    if source.template is not None and not Path(source.template).is_file():
        raise RecipeError(f"no file {source.template}; give the chat template as a Jinja file")


def _instead(folder: Path) -> str:
    """What to give in place of a folder that holds no checkpoint."""
    if (folder / "adapter_config.json").is_file():
        return (
            "it holds an adapter: merge it into its model (peft's merge_and_unload) and give that"
        )
    single = sorted(folder.glob("*.gguf"))
    if single:
        return f"name the GGUF file itself, {single[0].name}"
    return "give a folder in Hugging Face format"
