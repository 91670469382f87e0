"""Where a recipe lies, bundled or a person's own, one file or a folder, and what it extends.

A recipe is one tree: the family's sections at the top, `models`, `execution`. A folder is the same
tree cut into files: `family.yaml` the top, `NAME.yaml` what stands under `models.NAME`, and
`execution.yaml` what stands under `execution`. Knows no schema.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from resources.recipe.errors import RecipeError, nearest
from resources.recipe.naming import shown as shown_value
from resources.recipe.reading.yaml import read
from resources.recipe.tree import Node, leaves, merge, plain

HERE = Path(__file__).resolve().parents[1] / "bundled"
PREFIX = "heirloom/"
TOP, EXECUTION, MODELS, EXTENDS = "family", "execution", "models", "extends"


def names() -> list[str]:
    """Return the recipes that come with the package, those that can only be extended included."""
    folders = [path.parent.name for path in HERE.glob("*/family.yaml")]
    return sorted([*folders, *(path.stem for path in HERE.glob("*.yaml"))])


def find(name: str | Path) -> Path:
    """Return the file or folder that a name, `heirloom/NAME` or path means.

    Raises:
        RecipeError: there is none, or the word means a bundled recipe and one lying here.
    """
    word, inside = str(name), PREFIX
    if word.startswith(PREFIX) or word in names():
        bare = word.removeprefix(PREFIX)
        if bare not in names():
            listed = [f"{PREFIX}{each}" for each in names()]
            raise RecipeError(f"no bundled recipe '{word}'; {nearest(word, listed)}")
        own = _lying(Path(word).expanduser()) if word == bare else None
        if own is not None and HERE not in own.resolve().parents:
            raise RecipeError(
                f"'{word}' is a bundled recipe and {own} lies here too; write {inside}{word} or "
                f"./{own}"
            )
        folder = HERE / bare
        return folder if folder.is_dir() else HERE / f"{bare}.yaml"
    path = Path(word).expanduser()
    found = _lying(path)
    if found is not None:
        return found.resolve()
    if path.is_dir():
        raise RecipeError(
            f"{path}: no recipe: a folder needs family.yaml (or give the path of a one-file recipe)"
        )
    if path.is_file():
        raise RecipeError(f"{path}: a one-file recipe is named NAME.yaml")
    raise RecipeError(
        f"no recipe '{name}'; {nearest(word, names())}, or give a recipe's file or folder"
    )


def _lying(path: Path) -> Path | None:
    """The recipe file or folder at a path, which may leave `.yaml` out; else None."""
    if path.suffix == ".yaml" and path.is_file():
        return path
    if (path / f"{TOP}.yaml").is_file():
        return path
    beside = path.with_name(f"{path.name}.yaml")
    return beside if path.name and beside.is_file() else None


def title(path: Path) -> str:
    """What a recipe is called: the name of its folder or file."""
    return path.name if path.is_dir() else path.stem


def directory(path: Path) -> Path:
    """Where a recipe's relative paths start."""
    return path if path.is_dir() else path.parent


def shown(path: Path) -> str:
    """A path as messages show it: bundled ones by their name, others from where the reader is."""
    if HERE in path.parents:
        return PREFIX + path.relative_to(HERE).as_posix()
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def tree(path: Path) -> Node:
    """Return the recipe at a path with everything that it extends merged in.

    Relative paths of bases are written anew, from the recipe's own folder.

    Raises:
        RecipeError: a file is no YAML, a base is missing, or a recipe extends itself.
    """
    home = directory(path)
    return _rebased(_extended(path, ()), home)


def _extended(path: Path, below: tuple[Path, ...]) -> Node:
    own = _written(path)
    said = own.value.get(EXTENDS)
    own = replace(own, value={key: node for key, node in own.value.items() if key != EXTENDS})
    if said is None or said.value is None:
        return own
    whole: Node | None = None
    listed = said.value if isinstance(said.value, list) else [said]
    for each in listed:
        base = _base(each, path)
        if base in (*below, path):
            chain = " extends ".join(shown(p) for p in [*below, path, base])
            raise RecipeError(f"{each.origin}: extends: a circle, {chain}; leave one out")
        inherited = _nameless(_extended(base, (*below, path)))
        whole = inherited if whole is None else merge(whole, inherited)
    return own if whole is None else merge(whole, own)


def _nameless(base: Node) -> Node:
    """A base without its name: what extends it has its own."""
    return replace(base, value={key: node for key, node in base.value.items() if key != "name"})


def _base(said: Node, path: Path) -> Path:
    if not isinstance(said.value, str):
        raise RecipeError(
            f"{said.origin}: extends: must be heirloom/NAME, ./FILE.yaml, ./FOLDER or a list of "
            f"them, found {shown_value(plain(said))}"
        )
    try:
        if "," in said.value:
            raise RecipeError(f"'{said.value}' is one text; write a list, [{said.value}]")
        if said.value.startswith(PREFIX):
            return find(said.value)
        if said.value in names():
            raise RecipeError(f"write {PREFIX}{said.value} for the bundled one")
        target = directory(path) / Path(said.value).expanduser()
        found = _lying(target)
        if found is None:
            raise RecipeError(
                f"no recipe at {shown(Path(os.path.abspath(target)))}; write heirloom/NAME "
                f"({', '.join(names())}), or a file or folder from here"
            )
        return found.resolve()
    except RecipeError as error:
        raise RecipeError(f"{said.origin}: extends: {error}") from None


def _written(path: Path) -> Node:
    """What one recipe's own file or files say."""
    if path.is_file():
        return read(path, shown(path))
    top = read(path / f"{TOP}.yaml", shown(path / f"{TOP}.yaml"))
    sections = dict(top.value)
    strays = sorted(each.name for each in path.glob("*.yml"))
    if strays:
        raise RecipeError(
            f"{shown(path / strays[0])}: not read; recipe files end in .yaml, rename it"
        )
    for file in sorted(path.glob("*.yaml")):
        if file.stem == TOP or file.name.startswith("."):
            continue
        part = read(
            file, shown(file), (EXECUTION,) if file.stem == EXECUTION else (MODELS, file.stem)
        )
        if file.stem == EXECUTION:
            _once(sections, EXECUTION, part)
            sections[EXECUTION] = part
            continue
        models = sections.get(MODELS, Node({}, part.origin))
        if not isinstance(models.value, dict):
            raise RecipeError(f"{models.origin}: models: must be a mapping of models by name")
        _once(models.value, file.stem, part, "models.")
        sections[MODELS] = replace(models, value={**models.value, file.stem: part})
    return replace(top, value=sections)


def _once(known: dict[str, Node], key: str, part: Node, prefix: str = "") -> None:
    if key in known:
        raise RecipeError(
            f"{part.origin}: {prefix}{key} stands in {known[key].origin} too; keep one"
        )


def _rebased(root: Node, home: Path) -> Node:
    """Relative paths that were written elsewhere, from the recipe's own folder."""
    if not any(_strays(node, home) for _, node in leaves(root)):
        return root

    def walk(node: Node) -> Node:
        if isinstance(node.value, dict):
            return replace(node, value={key: walk(child) for key, child in node.value.items()})
        if isinstance(node.value, list):
            return replace(node, value=[walk(child) for child in node.value])
        if _strays(node, home):
            path = os.path.relpath((node.origin.folder or home) / node.value, home)
            return replace(node, value=path if path.startswith("..") else f"./{path}")
        return node

    return walk(root)


def _strays(node: Node, home: Path) -> bool:
    return (
        isinstance(node.value, str)
        and node.value.startswith(("./", "../"))
        and node.origin.folder not in (None, home)
    )
