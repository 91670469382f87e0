"""`heirloom recipes`: what can be run, and what can only be extended, one line each."""

from __future__ import annotations

import argparse

from jobs.console import open_console, plain_table
from resources.recipe.errors import RecipeError
from resources.recipe.loading import examine
from resources.recipe.reading import finding
from resources.recipe.tree import Node


def main(arguments: argparse.Namespace) -> int:
    """Print the bundled recipes: name, what it is for, its models and what becomes of them."""
    table = plain_table("recipe", "use", "what it is")
    for name in finding.names():
        table.add_row(f"{finding.PREFIX}{name}", _use(name), _said(name))
    open_console().print(table)
    print("run: heirloom run --recipe NAME; extend: `extends: heirloom/NAME` in a recipe of yours")
    return 0


def _use(name: str) -> str:
    try:
        tree: Node | None = examine(f"{finding.PREFIX}{name}", check_paths=False).tree
    except RecipeError:
        tree = None
    models = tree.child("models") if tree is not None else None
    return "run, extend" if models is not None and models.value else "extend"


def _said(name: str) -> str:
    """The first comment of a recipe's file, in one line."""
    path = finding.find(f"{finding.PREFIX}{name}")
    text = (path / "family.yaml" if path.is_dir() else path).read_text(encoding="utf-8")
    words = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# ").strip())
        if line.endswith("."):
            break
    return " ".join(words).split(". ")[0].rstrip(".")
