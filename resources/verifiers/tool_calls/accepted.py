"""Calls against lists of accepted values, as the Berkeley Function-Calling Leaderboard means them.

A truth is `{name: {parameter: [accepted, ...]}}`; `""` among the accepted ones says that the
argument may be left out. The rules are those of the package's `ast_checker` for Python: text is
equal but for case, spaces and `,./-_*^`; an integer is a float, a float is no integer; a value of
another type than declared passes where the accepted ones have that type.
"""

import re
from collections.abc import Mapping
from typing import Any

from resources.verifiers.tool_calls.calls import Call, same
from resources.verifiers.tool_calls.schemas import Tool
from resources.verifiers.verdict import shorten

_DECLARED = {
    "string": str, "integer": int, "float": float, "boolean": bool,
    "array": list, "tuple": list, "dict": dict, "any": str,
    "number": float, "object": dict,
}  # fmt: skip
_PUNCTUATION = re.compile(r"[ ,./\-_*^]")


def problem(call: Call, truth: Mapping[str, Any], tool: Tool | None) -> str | None:
    """Why a call is not the one that is accepted, or None where it is.

    >>> truth = {"f": {"city": ["New York"], "unit": ["km", ""]}}
    >>> problem(Call("f", {"city": "new york"}), truth, None)
    >>> problem(Call("f", {"city": "Rome"}), truth, None)
    "city is 'Rome', accepted: ['New York']"
    """
    ((name, accepted),) = truth.items()
    if call.name != name:
        return f"calls {call.name!r}, not {name!r}"
    declared = tool.declared if tool else {}
    properties = declared.get("properties") or {}
    for parameter in tool.schema.get("required", []) if tool else []:
        if parameter not in call.arguments:
            return f"lacks {parameter}"
    for parameter, value in call.arguments.items():
        if parameter not in accepted or (tool and tool.checked and parameter not in properties):
            return f"has {parameter}, which is not expected"
        if not _fits(value, accepted[parameter], properties.get(parameter) or {}):
            shown = shorten(repr(value), 60)
            return f"{parameter} is {shown}, accepted: {shorten(repr(accepted[parameter]), 80)}"
    for parameter, values in accepted.items():
        if parameter not in call.arguments and "" not in values:
            return f"lacks {parameter}"
    return None


def check(truth: Any, index: int) -> None:
    """ValueError where one expected call is no `{name: {parameter: [accepted, ...]}}`."""
    shape = isinstance(truth, dict) and len(truth) == 1
    accepted = next(iter(truth.values())) if shape else None
    if not isinstance(accepted, dict) or not all(isinstance(v, list) for v in accepted.values()):
        raise ValueError(
            f'call {index} is neither {{"name": str, "arguments": object}} nor '
            "{name: {parameter: [accepted values]}}"
        )


def _fits(value: Any, accepted: list[Any], declared: Mapping[str, Any]) -> bool:
    """Whether a value is of its declared type and one of the accepted ones."""
    own = next((type(each) for each in accepted if each != ""), None)
    kind: Any = _DECLARED.get(str(declared.get("type")), own or type(value))
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:  # a variable: text for a list, say, compared to the letter
        return type(value) is own and _among(value, accepted)
    items = declared.get("items")
    inner = _DECLARED.get(str(items.get("type"))) if isinstance(items, Mapping) else None
    if kind is list and inner and not _items_fit(value, accepted, inner):
        return False
    if own is not None and own is not kind:
        return _among(value, accepted)
    if kind is dict:
        return any(_record_fits(value, each) for each in accepted if isinstance(each, dict))
    if kind is list and inner is dict:
        return any(_records_fit(value, each) for each in accepted if isinstance(each, list))
    if kind is str:
        return _plain(value) in [_plain(each) for each in accepted if isinstance(each, str)]
    if kind is list:
        return any(_list_fits(value, each) for each in accepted)
    return _among(value, accepted)


def _items_fit(value: list[Any], accepted: list[Any], inner: type) -> bool:
    """Whether the items of a list have the type declared, or that of one accepted list's items."""
    for each in accepted:
        if not isinstance(each, list):
            return True
        own = next((type(item) for item in each if item != ""), None)
        if all(type(item) in (inner, own) for item in value):
            return True
    return False


def _list_fits(value: list[Any], accepted: Any) -> bool:
    if accepted == "":
        return value == []
    return isinstance(accepted, list) and same(_plain_items(value), _plain_items(accepted))


def _record_fits(value: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
    for key, given in value.items():
        options = accepted.get(key)
        if not isinstance(options, list) or not _among(_plain(given), _plain_items(options)):
            return False
    return all(key in value or "" in options for key, options in accepted.items())


def _records_fit(value: list[Any], accepted: list[Any]) -> bool:
    return len(value) == len(accepted) and all(
        isinstance(each, dict) and isinstance(want, dict) and _record_fits(each, want)
        for each, want in zip(value, accepted, strict=True)
    )


def _plain_items(values: list[Any]) -> list[Any]:
    return [_plain(each) for each in values]


def _plain(value: Any) -> Any:
    """Text without what BFCL does not count; other values as they are."""
    if not isinstance(value, str):
        return value
    return _PUNCTUATION.sub("", value).lower().replace("'", '"')


def _among(value: Any, accepted: list[Any]) -> bool:
    return any(same(value, each) for each in accepted)
