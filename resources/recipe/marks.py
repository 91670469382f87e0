"""Where a recipe's numbers come from: what lacks a source, and the table in docs/recipes.md.

`python -m resources.recipe.marks paper` rewrites the table. Knows nothing of what numbers mean.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.recipe.errors import RecipeError, dotted
from resources.recipe.loading import load
from resources.recipe.reading.shape import EXECUTION
from resources.recipe.schema import Recipe
from resources.recipe.tree import Node, leaves, marks, plain

DOCS = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
BEGIN, END = "<!-- sources: begin -->", "<!-- sources: end -->"


def unmarked(recipe: Recipe) -> list[str]:
    """Return the key path of every number that neither has a source nor is marked undisclosed.

    Execution settings are left out: they change no result.
    """
    marked = [path for path, _ in marks(recipe.tree)]
    return [
        dotted(path)
        for path, node in leaves(recipe.tree)
        if path[0] != EXECUTION
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
        and not any(path[: len(each)] == each for each in marked)
    ]


def table(marked: Mapping[str, Node]) -> str:
    """Return the Markdown table of every marked value."""
    rows = ["| key | value | source |", "|---|---|---|"]
    for path, node in marked.items():
        if path.split(".")[0] == EXECUTION or node.mark is None:
            continue
        cells = (f"`{path}`", _show(plain(node)), node.mark.text)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_show(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_show(item) for item in value) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return (
        "not given" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    )


def rewrite(text: str, recipe: Recipe) -> str:
    """Return the page `text` with the table between its two markers made anew.

    Raises:
        RecipeError: a marker is missing.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise RecipeError(f"the page needs the lines '{BEGIN}' and '{END}' once each")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    said = [node.mark for node in recipe.marks.values() if node.mark is not None]
    disclosed, count = sum(mark.source is not None for mark in said), len(said)
    summary = f"{count} marked values: {disclosed} sourced, {count - disclosed} chosen defaults."
    return f"{before}{BEGIN}\n{summary}\n\n{table(recipe.marks)}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Rewrite the table in docs/recipes.md from the named recipe."""
    if len(arguments) != 1:
        print("usage: python -m resources.recipe.marks RECIPE", file=sys.stderr)
        return 2
    try:
        recipe = load(arguments[0], check_paths=False)
        DOCS.write_text(rewrite(DOCS.read_text(encoding="utf-8"), recipe), encoding="utf-8")
    except (RecipeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in unmarked(recipe):
        print(f"no source: {path}", file=sys.stderr)
    print(DOCS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
