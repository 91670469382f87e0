"""Where a recipe's numbers come from: what lacks a source, and the table in docs/recipes.md.

`python -m resources.recipe.sources paper` rewrites the table. Knows nothing of what numbers mean.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resources.recipe.errors import RecipeError, dotted
from resources.recipe.loading import load
from resources.recipe.reading import KeyPath, Source, read, unwrap
from resources.recipe.schema import Recipe

DOCS = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
BEGIN, END = "<!-- sources: begin -->", "<!-- sources: end -->"


def unmarked(recipe: Recipe) -> list[str]:
    """Return the key path of every number that neither has a source nor is marked undisclosed.

    Execution settings are left out: they change no result.
    """
    found = []
    for stem in ("family", *recipe.models):
        plain, marks = unwrap(read(recipe.directory / f"{stem}.yaml", stem), stem)
        found += [
            dotted((stem, *path))
            for path in _numbers(plain, ())
            if not any(path[: len(marked)] == marked for marked in marks)
        ]
    return found


def _numbers(node: Any, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _numbers(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _numbers(value, (*path, index))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path


def table(sources: Mapping[str, Source]) -> str:
    """Return the Markdown table of every marked value."""
    rows = ["| key | value | source |", "|---|---|---|"]
    for path, source in sources.items():
        cells = (f"`{path}`", _show(source.value), source.text)
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
    disclosed = sum(source.source is not None for source in recipe.sources.values())
    count = len(recipe.sources)
    summary = f"{count} marked values: {disclosed} sourced, {count - disclosed} chosen defaults."
    return f"{before}{BEGIN}\n{summary}\n\n{table(recipe.sources)}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Rewrite the table in docs/recipes.md from the named recipe."""
    if len(arguments) != 1:
        print("usage: python -m resources.recipe.sources RECIPE", file=sys.stderr)
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
