"""What a path in a recipe means: bundled, local, or a hub id; knows no schema."""

from __future__ import annotations

import re
from pathlib import Path

from resources.recipe.errors import RecipeError

BUNDLED = Path(__file__).resolve().parent.parent / "models" / "bundled"
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")


def resolve(path: str, directory: Path) -> Path | str:
    """Return a local folder as `Path`, or a hub id as `str`.

    `bundled/x` is a folder of this package's bundled models; `/x`, `~/x`, `./x` and `../x` are
    local (relative ones to the recipe's `directory`); `org/name` is a hub id.

    Raises:
        RecipeError: the text is none of these.

    >>> resolve("meta-llama/Llama-3.1-8B-Instruct", Path("."))
    'meta-llama/Llama-3.1-8B-Instruct'
    """
    if path.startswith("bundled/"):
        return BUNDLED / path.removeprefix("bundled/")
    if path.startswith(("/", "~", "./", "../")):
        return (directory / Path(path).expanduser()).resolve()
    if _HUB_ID.match(path):
        return path
    raise RecipeError(
        f"'{path}' is no path; write bundled/<name>, ./<folder>, /<folder> or a hub id org/name"
    )


def check(path: str, directory: Path, marker: str) -> None:
    """Refuse a local checkpoint or tokenizer folder that lacks its `marker` file (hub ids pass).

    Raises:
        RecipeError: the folder or its marker file is missing.
    """
    found = resolve(path, directory)
    if isinstance(found, str):
        return
    if not found.is_dir():
        raise RecipeError(f"no folder {found}; give an existing one or a hub id org/name")
    if not (found / marker).is_file():
        raise RecipeError(f"{found} has no {marker}; give a folder in Hugging Face format")
