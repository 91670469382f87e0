"""Reading recipe YAML strictly, and taking the source marks out; knows no schema.

YAML 1.1 traps are closed: `on` and `off` are text, `1e-3` is a number, a repeated key is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from resources.recipe.errors import RecipeError, dotted

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """Where a value comes from: a publication (`source`) or why a default was chosen."""

    value: Any
    source: str | None = None
    undisclosed: str | None = None

    @property
    def text(self) -> str:
        """The mark as shown in the docs."""
        if self.source is not None:
            return self.source
        return f"undisclosed, chosen default: {self.undisclosed}"


class _Loader(yaml.SafeLoader):
    """Safe loader with JSON-like scalars and no repeated keys."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":bool", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$"),
    list("-+0123456789."),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found:
            line = key_node.start_mark.line + 1
            raise RecipeError(f"line {line}: key '{key}' stands twice; keep one")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(path: Path, shown: str) -> dict[str, Any]:
    """Return the YAML mapping in `path`; errors name the file as `shown`."""
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.load(text, Loader=_Loader)
    except RecipeError as error:
        raise RecipeError(f"{shown}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RecipeError(f"{shown}: {where}not valid YAML: {problem}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{shown}: cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"{shown}: must be a mapping of sections, found {type(data).__name__}")
    return data


def unwrap(data: Any, shown: str) -> tuple[Any, dict[KeyPath, Source]]:
    """Replace every `{value, source}` or `{value, undisclosed}` by its value.

    Returns the plain data and the marks by key path.
    """
    sources: dict[KeyPath, Source] = {}

    def walk(node: Any, path: KeyPath) -> Any:
        if isinstance(node, dict) and "value" in node:
            marks = [key for key in ("source", "undisclosed") if key in node]
            if len(marks) != 1 or len(node) != 2:
                raise RecipeError(
                    f"{shown}: {dotted(path)}: a marked value has exactly two keys, 'value' and "
                    f"one of 'source' and 'undisclosed'; found {', '.join(map(str, node))}"
                )
            mark = node[marks[0]]
            if not isinstance(mark, str) or not mark.strip():
                raise RecipeError(
                    f"{shown}: {dotted(path)}.{marks[0]}: must say where the value comes from"
                )
            value = walk(node["value"], path)
            sources[path] = Source(value, **{marks[0]: mark.strip()})
            return value
        if isinstance(node, dict):
            return {key: walk(value, (*path, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value, (*path, index)) for index, value in enumerate(node)]
        return node

    return walk(data, ()), sources
