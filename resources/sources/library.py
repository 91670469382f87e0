"""Text that ships with Python itself: documentation, docstrings, source code.

English prose and code wherever Python runs, with nothing fetched. The same rows for one version of
Python; another version, or a distribution that leaves files out, gives others.
"""

from __future__ import annotations

import ast
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resources.recipe.sections.data import BROUGHT, PYTHON

SHORTEST, LONGEST = 200, 6000  # characters of a document
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


@dataclass(frozen=True)
class Bundled:
    """One of the bodies of text that Python brings, of one version of it."""

    what: str
    version: str


def bundled(path: str) -> Bundled | None:
    """What `python:documentation` names, of the Python that runs; None for another path.

    >>> bundled("python:docstrings").what, bundled("./docs")
    ('docstrings', None)
    """
    if not path.startswith(PYTHON):
        return None
    return Bundled(path.removeprefix(PYTHON), platform.python_version())


def documents(what: str) -> Iterator[tuple[str, int, str]]:
    """The documents in order: file, line it begins on, text.

    `documentation` is the language reference's topics, `docstrings` those of the standard library,
    `source` its code without them, so that no text stands in two; nor does one stand twice in one.
    Each has `SHORTEST` to about `LONGEST` characters.
    """
    bodies = dict(zip(BROUGHT, (_documentation, _docstrings, _source), strict=True))
    seen: set[str] = set()
    for file, line, text in bodies[what]():
        if text not in seen:
            seen.add(text)
            yield file, line, text


def _documentation() -> Iterator[tuple[str, int, str]]:
    from pydoc_data import topics

    for name, text in sorted(topics.topics.items()):
        for line, piece in _pieces(text.split("\n")):
            yield f"pydoc_data/{name}", line, piece


def _docstrings() -> Iterator[tuple[str, int, str]]:
    for name, _, tree in _modules():
        for node in _documented(tree):
            text = ast.get_docstring(node) or ""
            for _, piece in _pieces(text.split("\n")):
                yield name, node.body[0].lineno, piece


def _source() -> Iterator[tuple[str, int, str]]:
    for name, lines, tree in _modules():
        kept = list(lines)
        for node in _documented(tree):
            first = node.body[0]
            for line in range(first.lineno - 1, first.end_lineno or first.lineno):
                kept[line] = ""
        for line, piece in _pieces(kept):
            yield name, line, piece


def _modules() -> Iterator[tuple[str, list[str], ast.Module]]:
    """Every module of the standard library: its name, lines and syntax tree."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).parts):
        place = path.relative_to(root)
        if _LEFT_OUT & set(place.parts) or place.parts[0].startswith("config-"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (SyntaxError, ValueError):  # examples of bad code, odd encodings: no text of ours
            continue
        yield place.as_posix(), text.split("\n"), tree


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(tree: ast.Module) -> Iterator[_Documented]:
    """The nodes with a docstring, in the order of the file."""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None
    ]
    yield from sorted(found, key=lambda node: node.body[0].lineno)


def _pieces(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines as documents, each with the line it begins on (from 1).

    A document ends at an empty line once it is half as long as one may be, and at the longest.
    """
    held: list[str] = []
    first = 1
    size = 0
    for number, line in enumerate([*lines, ""], 1):
        held.append(line.rstrip())
        size += len(line) + 1
        full = size > LONGEST or (not line.strip() and size > LONGEST // 2)
        if full or number > len(lines):
            text = "\n".join(held).strip("\n")
            if len(text) >= SHORTEST:
                yield first, text
            held, first, size = [], number + 1, 0
