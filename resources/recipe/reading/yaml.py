"""Reading recipe YAML strictly into a tree of values that know their line; knows no schema.

YAML 1.1 traps are closed: `on`, `off` and dates are text, `1e-3` is a number, `010` and `1:30` are
none, a repeated key is an error. `{value, source}` and `{value, undisclosed}` become marks.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from resources.recipe.errors import RecipeError, dotted
from resources.recipe.tree import KeyPath, Mark, Node, Origin

_MOST = 100_000  # values in one file, aliases counted as often as they are named
_TABS = re.compile(r" *\t")
_TRAPS = (":bool", ":float", ":int", ":timestamp", ":value")
# What a value may be said to be; others, such as `!!set` and `!!python/…`, build what is no value.
_TAGS = [f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq")]
_TAGS += ["tag:yaml.org,2002:map", "tag:yaml.org,2002:merge"]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe loader with JSON-like scalars."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(_TRAPS)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][\d_]*)$", re.A), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d[\d_]*\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$", re.A
    ),
    list("-+0123456789."),
)


def read(path: Path, shown: str, start: KeyPath = ()) -> Node:
    """Return the YAML mapping in `path`; errors and origins name the file as `shown`.

    `start` is where the file stands in its recipe.

    Raises:
        RecipeError: the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"not UTF-8 ({error})"
        raise RecipeError(f"{shown}: cannot be read: {why}") from None
    node = parse(text, shown, path.parent, start=start)
    if not isinstance(node.value, dict):
        found = "nothing" if node.value is None else type(node.value).__name__
        raise RecipeError(
            f"{shown}: must be a mapping of sections, found {found}; `heirloom init` writes one"
        )
    return node


def parse(text: str, shown: str, folder: Path, *, start: KeyPath = (), lines: bool = True) -> Node:
    """Return a YAML text as a tree. With `lines`, origins and errors name its lines."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return Node(None, Origin(shown, None, folder))
        return _Builder(loader, shown, folder, lines).build(root, root.start_mark.line, start)
    except RecursionError:
        raise RecipeError(f"{shown}: nested too deep to be a recipe") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.line + 1}: column {mark.column + 1}: " if mark and lines else " "
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        context = getattr(error, "context", None)
        if context and problem.startswith("but "):
            problem = f"{context}, {problem}"
        if mark and _TABS.match(_line(text, mark.line)):
            problem = "a tab stands before the key; YAML indents by spaces"
        raise RecipeError(f"{shown}:{where}not valid YAML: {problem}") from None
    finally:
        loader.dispose()


def _line(text: str, number: int) -> str:
    """A line of a text, counted from 0; empty behind its end."""
    return "".join(text.splitlines()[number : number + 1])


def _inside(path: KeyPath) -> str:
    """A key path at the head of a message; nothing at the top."""
    return f"{dotted(path)}: " if path else ""


class _Builder:
    """Builds nodes of one text, remembering which collections are open to refuse endless ones."""

    def __init__(self, loader: _Loader, shown: str, folder: Path, lines: bool) -> None:
        self.loader, self.shown, self.folder, self.lines = loader, shown, folder, lines
        self.open: list[yaml.Node] = []
        self.built = 0

    def build(self, node: yaml.Node, line: int, path: KeyPath) -> Node:
        """The node at a path, said to stand on `line` (of its key, so that aliases are told)."""
        origin = Origin(self.shown, line + 1 if self.lines else None, self.folder)
        self.built += 1
        if self.built > _MOST:
            raise RecipeError(
                f"{origin}: {dotted(path)}: more than {_MOST:,} values; aliases name aliases here"
            )
        if node.tag not in _TAGS:
            raise RecipeError(
                f"{origin}: {_inside(path)}the tag {node.tag} has no meaning here; leave it out"
            )
        if isinstance(node, yaml.ScalarNode):
            try:
                return Node(self.loader.construct_object(node), origin)
            except (ValueError, yaml.YAMLError) as error:
                raise RecipeError(
                    f"{origin}: {dotted(path)}: {str(error).splitlines()[0]}"
                ) from None
        if any(node is outer for outer in self.open):
            raise RecipeError(f"{origin}: {dotted(path)}: an alias stands inside what it names")
        self.open.append(node)
        made: Any
        if isinstance(node, yaml.SequenceNode):
            made = [
                self.build(child, child.start_mark.line, (*path, index))
                for index, child in enumerate(node.value)
            ]
        else:
            made = self._mapping(node, path)
        self.open.pop()
        return self._marked(made, origin, path) if isinstance(made, dict) else Node(made, origin)

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[Any, Node]:
        found: dict[Any, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line
            at = f"{self.shown}:{line + 1}" if self.lines else self.shown
            if not isinstance(key_node, yaml.ScalarNode):
                raise RecipeError(f"{at}: {_inside(path)}a key must be a word")
            if key_node.tag.endswith(":merge"):
                raise RecipeError(
                    f"{at}: {_inside(path)}'<<' merges nothing here; put what several share into "
                    "a base (`extends`), or under `each` beside their names"
                )
            key = self.loader.construct_object(key_node)
            if not isinstance(key, str) and type(key) is not int:
                word = key_node.value or "nothing"
                raise RecipeError(f"{at}: {_inside(path)}a key must be a word, found {word}")
            if key in found:
                first = found[key].origin
                raise RecipeError(
                    f"{at}: key '{dotted((*path, key))}' stands twice, first in {first}; keep one"
                )
            found[key] = self.build(value_node, line, (*path, key))
        return found

    def _marked(self, made: dict[Any, Node], origin: Origin, path: KeyPath) -> Node:
        if "value" not in made:
            return Node(made, origin)
        names = [key for key in ("source", "undisclosed") if key in made]
        if len(names) != 1 or len(made) != 2:
            raise RecipeError(
                f"{origin}: {dotted(path)}: a marked value has exactly two keys, 'value' and "
                f"one of 'source' and 'undisclosed'; found {', '.join(map(str, made))}"
            )
        text = made[names[0]].value
        if not isinstance(text, str) or not text.strip():
            raise RecipeError(
                f"{origin}: {dotted(path)}.{names[0]}: must say where the value comes from"
            )
        return Node(made["value"].value, origin, Mark(**{names[0]: text.strip()}))
