"""The tools that were offered: every published style of a tool's description, as JSON Schema.

Reads OpenAI's wrapped form, bare ones (BFCL, glaive, Anthropic, MCP, Bedrock, Gemini) and xLAM's
table of parameters; maps the types that are no JSON Schema. What it does not know is refused, not
passed over. Arguments are checked by the `jsonschema` library.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resources.verifiers.verdict import shorten

_TYPES = {
    "string": "string", "str": "string", "text": "string",
    "integer": "integer", "int": "integer",
    "number": "number", "float": "number",
    "boolean": "boolean", "bool": "boolean",
    "array": "array", "list": "array", "tuple": "array", "set": "array",
    "object": "object", "dict": "object", "dictionary": "object",
    "null": "null", "none": "null", "nonetype": "null",
    "any": "any",
}  # fmt: skip
# Types of BFCL's Java and JavaScript tools, whose arguments are written in those languages.
_FOREIGN = frozenset(
    {
        "String", "Boolean", "Bigint", "BigInt", "Array", "ArrayList", "HashMap", "Hashtable",
        "Queue", "Stack", "Set", "byte", "short", "long", "double", "char", "Object", "List",
        "Map", "Integer", "Long", "Double", "Float",
    }
)  # fmt: skip
_FOREIGN_NOTE = re.compile(r"is in (Java|JavaScript)\b.*? syntax", re.IGNORECASE)
_CAMEL = re.compile(r"[a-z][A-Z]")
_GENERIC = re.compile(r"^(\w+)\s*\[(.*)\]$", re.DOTALL)
_INNER = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    "items",
    "additionalProperties",
    "not",
    "contains",
    "propertyNames",
    "if",
    "then",
    "else",
)
_DEPTH = 64


class Foreign(ValueError):
    """The tool belongs to another language than JSON or Python; its arguments cannot be judged."""


@dataclass(frozen=True)
class Tool:
    """One tool. `declared` is the description of its parameters as published, `schema` the same as
    JSON Schema; `checked` is False where nothing is said of them."""

    name: str
    declared: Mapping[str, Any]
    schema: Mapping[str, Any]
    checked: bool

    @property
    def parameters(self) -> list[str]:
        """The names of its parameters, in the order given."""
        return list(self.schema.get("properties") or {})

    @property
    def defaults(self) -> dict[str, Any]:
        """What optional parameters are where they are left out, as far as it is said."""
        required = self.schema.get("required", [])
        properties = self.schema.get("properties") or {}
        return {
            name: given["default"]
            for name, given in properties.items()
            if isinstance(given, dict) and "default" in given and name not in required
        }

    @cached_property
    def _validator(self) -> Any:
        import jsonschema
        import referencing

        kind = jsonschema.validators.validator_for(
            self.schema, default=jsonschema.Draft202012Validator
        )
        return kind(self.schema, registry=referencing.Registry())  # fetches nothing

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """The first thing that is wrong with the arguments of a call, or None.

        Raises ValueError where the schema itself cannot be followed.
        """
        import jsonschema
        import referencing.exceptions

        try:
            found = jsonschema.exceptions.best_match(self._validator.iter_errors(dict(arguments)))
        except (referencing.exceptions.Unresolvable, RecursionError, re.error) as error:
            raise ValueError(
                f"tool {self.name!r}: its schema cannot be followed: {error}"
            ) from None
        if found is None:
            return None
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in found.absolute_path)
        return f"arguments{place}: {shorten(found.message)}"


def offered(given: Any) -> dict[str, Tool]:
    """The tools by name, from a list of descriptions, one of them, or the JSON text of either.

    Raises Foreign for a tool of Java or JavaScript, and ValueError for what is no description.

    >>> tools = offered([{"type": "function", "function": {"name": "f", "parameters": None}}])
    >>> tools["f"].parameters, tools["f"].problem({"a": 1})
    ([], None)
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"tools are no JSON: {error}") from None
    if isinstance(given, Mapping):
        inner = next((given[key] for key in _BUNDLES if isinstance(given.get(key), list)), None)
        given = [given] if inner is None else inner
    if not isinstance(given, Sequence):
        raise ValueError(f"tools must be a list of descriptions, found {shorten(repr(given))}")
    flat: list[Any] = []
    for each in given:
        bundle = next(
            (each[key] for key in _BUNDLES if isinstance(each, Mapping) and key in each), None
        )
        flat += bundle if isinstance(bundle, list) else [each]
    found = [_tool(each, index) for index, each in enumerate(flat)]
    return {tool.name: tool for tool in found}


_BUNDLES = ("functionDeclarations", "function_declarations", "tools")


def _tool(given: Any, index: int) -> Tool:
    for wrapper in ("function", "toolSpec"):
        if isinstance(given, Mapping) and isinstance(given.get(wrapper), Mapping):
            given = given[wrapper]
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ValueError(
            f"tool {index} has no name, found {shorten(json.dumps(given, default=str))}"
        )
    name = given["name"]
    keys = ("parameters", "input_schema", "inputSchema", "parameters_json_schema", "arguments")
    declared = next((given[key] for key in keys if given.get(key) is not None), None)
    if isinstance(declared, Mapping) and isinstance(declared.get("json"), Mapping):
        declared = declared["json"]
    if declared is None:
        return Tool(name, {}, {}, checked=False)
    if not isinstance(declared, Mapping):
        raise ValueError(f"tool {name!r}: its parameters are {shorten(repr(declared))}")
    if _foreign(name, str(given.get("description") or ""), declared):
        raise Foreign(f"tool {name!r} is of Java or JavaScript, whose values are not judged here")
    if _is_table(declared):
        declared = {"type": "object", "properties": declared}
        required = [key for key, each in declared["properties"].items() if _demanded(each)]
        declared["required"] = required
    schema = _schema(declared, f"tool {name!r}", 0)
    schema.setdefault("type", "object")
    if schema.get("properties"):
        schema.setdefault("additionalProperties", False)  # a tool takes what it names
    return Tool(name, declared, _sound(schema, name), checked=True)


def _sound(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The schema, once the library has found it well-formed."""
    import jsonschema

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"tool {name!r}: no JSON Schema: {shorten(error.message)}") from None
    return schema


def _is_table(declared: Mapping[str, Any]) -> bool:
    """Whether these are parameters by name, as xLAM writes them, and not one schema of an object.

    A parameter may itself be called `type` or `properties`: then its value is a description.
    """
    for key in ("type", "properties", "$ref", *_LISTS):
        if key in declared and not (isinstance(declared[key], Mapping) and key == "type"):
            return False
    return bool(declared) and all(
        isinstance(each, Mapping) and {"type", "description"} & each.keys()
        for each in declared.values()
    )


def _demanded(given: Mapping[str, Any]) -> bool:
    optional = "optional" in str(given.get("type", "")).lower() or "default" in given
    return bool(given.get("required", not optional))


def _foreign(name: str, description: str, declared: Mapping[str, Any]) -> bool:
    """Whether a tool is one of BFCL's Java or JavaScript ones.

    They have types of those languages; some declare `any` alone, for objects that only a variable
    can name, and are told by the languages' spelling of names.
    """
    types = set(_type_names(declared))
    names = [name.rpartition(".")[2], *(declared.get("properties") or {})]
    camel = any(isinstance(each, str) and _CAMEL.search(each) for each in names)
    noted = _FOREIGN_NOTE.search(description)
    return bool(noted) or bool(types & _FOREIGN) or ("any" in types and camel)


def _type_names(given: Any) -> list[str]:
    """The names that stand as types in the parameters of a tool, one level of items deep."""
    properties = given.get("properties")
    if not isinstance(properties, Mapping):
        return []
    found = []
    for each in properties.values():
        if isinstance(each, Mapping):
            inner = each.get("items")
            kinds = [each.get("type"), inner.get("type") if isinstance(inner, Mapping) else None]
            found += [kind for kind in kinds if isinstance(kind, str)]
            found += _type_names(each)
    return found


def _schema(given: Any, where: str, depth: int) -> Any:
    """A published description of a value as JSON Schema. Raises ValueError for what it is not."""
    if isinstance(given, bool):
        return given
    if isinstance(given, str):  # a type alone, where a schema should stand
        return _typed(given, where)
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: a schema must be an object, found {shorten(repr(given))}")
    if depth > _DEPTH:
        raise ValueError(f"{where}: its schema is nested over {_DEPTH} deep")
    found = {key: value for key, value in given.items() if value is not None or key == "default"}
    kinds = found.pop("type", None)
    for key in _INNER:
        if isinstance(found.get(key), Mapping):
            items = found[key].items()
            found[key] = {k: _schema(v, f"{where}.{k}", depth + 1) for k, v in items}
    for key in _LISTS:
        if isinstance(found.get(key), list):
            found[key] = [_schema(each, where, depth + 1) for each in found[key]]
    for key in _SINGLE:
        if key in found:
            found[key] = _schema(found[key], where, depth + 1)
    _lift_required(found, given.get("properties"))
    typed = _typed(kinds, where) if kinds is not None else {}
    if "items" in typed and "items" in found:
        typed.pop("items")
    found = {**typed, **found}
    if found.pop("nullable", False) and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    return found


def _lift_required(found: dict[str, Any], properties: Any) -> None:
    """`required: true` on a property means that its parent requires it."""
    names = list(found["required"]) if isinstance(found.get("required"), list) else []
    if not isinstance(found.get("required", []), list):
        del found["required"]
    if isinstance(properties, Mapping):
        marked = [n for n, p in properties.items() if isinstance(p, Mapping)]
        names += [n for n in marked if properties[n].get("required") is True and n not in names]
    if names:
        found["required"] = names


def _typed(kinds: Any, where: str) -> dict[str, Any]:
    """The part of a schema that a type stands for: JSON Schema's own, BFCL's, or Python's."""
    if isinstance(kinds, list):
        parts = [_typed(kind, where) for kind in kinds]
        if all(part.keys() == {"type"} for part in parts):
            return {"type": [part["type"] for part in parts]}
        return {"anyOf": parts}
    if not isinstance(kinds, str):
        raise ValueError(f"{where}: type is {shorten(repr(kinds))}, not the name of one")
    text = kinds.partition(", optional")[0].strip()
    generic = _GENERIC.match(text)
    if generic:
        return _generic(generic[1].lower(), _split(generic[2]), where)
    if "|" in text:
        return _typed([part.strip() for part in text.split("|")], where)
    name = _TYPES.get(text if text in _TYPES else text.lower())
    if name is None:
        raise ValueError(f"{where}: unknown type {shorten(kinds, 40)!r}")
    return {} if name == "any" else {"type": name}


def _generic(outer: str, inner: list[str], where: str) -> dict[str, Any]:
    if outer == "optional":
        return _typed([*inner, "null"], where)
    if outer == "union":
        return _typed(inner, where)
    base = _typed(outer, where)
    if base.get("type") == "array" and len(inner) == 1:
        return base | {"items": _typed(inner[0], where)}
    return base


def _split(text: str) -> list[str]:
    """The arguments of a generic type: split at commas outside brackets."""
    parts, depth = [""], 0
    for mark in text:
        depth += (mark == "[") - (mark == "]")
        if mark == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += mark
    return [part.strip() for part in parts if part.strip() not in ("", "...")]
