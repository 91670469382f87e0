"""A fault of the schema in the words of a recipe's writer: what is wrong, and what would be right.

Knows how pydantic calls its errors, and the slips that people make.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from resources.recipe.errors import nearest
from resources.recipe.naming import either, nearest_name, shown
from resources.recipe.packaged import benchmarks
from resources.recipe.sections.base import DOMAINS

SCALES = {"K": 1_000, "M": 1_000_000, "B": 1_000_000_000}
_AMOUNT = re.compile(r"^([-+]?\d+(?:\.\d+)?)\s?([KMB])$", re.A)
# An amount as people also write it: 160k, 3 MB, "100,000", 2 million, 5G tokens.
_LOOSE = re.compile(
    r"([-+]?\d[\d,_' ]*(?:\.\d+)?)\s*(k|m|b|g|thousand|million|billion)?b?\s*(?:tokens?)?",
    re.I | re.A,
)
_OR = (", or", " Or")
_TRUE, _FALSE = ("true", "on", "yes", "y", "1"), ("false", "off", "no", "n", "0")


def amount(text: object) -> int | float | None:
    """The number that a text with K, M or B means; None where it is none.

    >>> amount("100M"), amount("1.5B"), amount("7Q")
    (100000000, 1500000000, None)
    """
    found = _AMOUNT.match(text) if isinstance(text, str) else None
    if found is None:
        return None
    value = float(found[1]) * SCALES[found[2]]
    return int(value) if value.is_integer() else value


def worded(error: ErrorDetails, keys: list[Any], data: Any, needs: str) -> tuple[str, str]:
    """What is wrong at `keys` of `data`, and what would be right.

    `needs` is what a section that stands there needs, empty where there is none.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "unknown_key":
        key, _, value = context["key"].partition(":")
        spaced = f"write `{key}: {value}`, with a space behind the colon"
        return f"unknown key '{context['key']}'", spaced if value else str(context["hint"])
    if kind == "missing_key":
        return f"missing key '{context['key']}'", f"add `{context['key']}: …` ({context['what']})"
    if kind == "impossible":
        return error["msg"], ""
    if kind == "no_benchmark":
        hint = nearest(str(keys[-1]), benchmarks())
        return f"no bundled benchmark '{keys[-1]}'", f"{hint}{_OR[hint[-1:] == '?']} {needs}"
    if kind == "literal_error" and error["loc"][-1] == "[key]":
        return f"no domain '{keys[-1]}'", nearest(str(keys[-1]), DOMAINS)
    found = _written(error, keys, data)
    if kind == "literal_error":
        return f"must be {context['expected']}, found {shown(found)}", ""
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        for key in keys:
            data = data[key]
        said = data.get("method") if isinstance(data, dict) else None
        wrong = "but is missing" if said is None else f"found {said!r}"
        return f"must be 'rpo_offline', 'rpo_online' or 'grpo', {wrong}", ""
    if kind in {"model_type", "model_attributes_type"}:
        return f"must be a section of keys, found {shown(found)}", _section(found, keys, needs)
    if kind == "too_short":
        entries = _mapping(found) if isinstance(found, dict) else ""
        return f"must have {context['min_length']} or more entries, found {shown(found)}", entries
    if kind == "too_long":
        return f"must have {context['max_length']} entries or fewer, found {shown(found)}", ""
    if kind == "invalid_key":
        return f"a key must be a word, found {keys[-1] if keys else found}", ""
    if kind == "list_type" and needs:
        return f"must be a list of sections, found {shown(found)}", needs
    if kind in _KINDS:
        wanted, remedy = _KINDS[kind]
        return f"must be {wanted}, found {shown(found)}", remedy(found)
    wording = error["msg"].replace("Input should be", "must be").replace("String should", "must")
    share = context.get("lt", context.get("le")) == 1 and _of_hundred(found)
    return f"{wording}, found {shown(found)}", f"{found:g} % is {found / 100:g}" if share else ""


def _written(error: ErrorDetails, keys: list[Any], data: Any) -> Any:
    """What was given: as it was written, where the schema made something of it first."""
    for key in keys:
        data = data[key]
    return data if isinstance(data, str | int | float) else error["input"]


def _of_hundred(found: Any) -> bool:
    """Whether a share was perhaps meant as one of a hundred."""
    return isinstance(found, int | float) and 2 <= found < 100


def _whole(found: Any) -> str:
    """What whole number was meant, or how one is written.

    >>> _whole("160k"), _whole("3 MB"), _whole("100,000"), _whole(1e5)
    ('write 160K', 'write 3M', 'write 100000', 'write 100000')
    >>> _whole("lots")
    'such as 8, 1_000, 160K or 3M'
    """
    if isinstance(found, float) and found.is_integer():
        return f"write {found:.0f}"
    meant = _LOOSE.fullmatch(found.strip()) if isinstance(found, str) else None
    if meant is None:
        return "such as 8, 1_000, 160K or 3M"
    scale = (meant[2] or "")[:1].upper().replace("G", "B").replace("T", "K")
    number = re.sub(r"[,_' ]", "", meant[1])
    return f"write {number}{scale}"


def _number(found: Any) -> str:
    """What number was meant, or how one is written.

    >>> _number("80%"), _number("2e-5"), _number("8GB"), _number("much")
    ('write 0.8', 'write 2e-5 without quotes', 'write 8B', 'such as 0.5 or 2e-5')
    """
    text = found.strip() if isinstance(found, str) else ""
    try:
        if text.endswith("%"):
            return f"write {float(text[:-1]) / 100:g}"
        known = math.isfinite(float(text))
    except ValueError:
        known = False
    meant = _LOOSE.fullmatch(text)
    if meant is not None and meant[2] and not text.endswith("m"):  # 5m may be minutes
        return _whole(text)
    return f"write {text} without quotes" if known else "such as 0.5 or 2e-5"


def _switch(found: Any) -> str:
    said = str(found).lower()
    return "write true" if said in _TRUE else "write false" if said in _FALSE else ""


def _text(found: Any) -> str:
    if isinstance(found, list):
        return "give one"
    return f'put it in quotes: "{found}"' if isinstance(found, int | float) else ""


def _list(found: Any) -> str:
    return f"write [{found}]" if isinstance(found, str | int | float) else ""


def _mapping(found: Any) -> str:
    if isinstance(found, list) and found and all(isinstance(each, str) for each in found):
        return f"write {{{', '.join(f'{each}: …' for each in found)}}}"
    return "write NAME: … for each"


def _section(found: Any, keys: list[Any], needs: str) -> str:
    """What to write for a section, where names alone were written."""
    if found is None and keys[-1:] and keys[-1] in benchmarks():
        return f"write {keys[-1]}: {{}} for the bundled one"
    if isinstance(found, str) and "parent: …" in needs:
        return f"write {{parent: {found}}}"
    names = [found] if isinstance(found, str) else found
    if needs == "write {NAME: …}" and isinstance(names, list):
        return f"write {{{', '.join(f'{each}: {{}}' for each in names)}}}"
    return needs


def _name(found: Any) -> str:
    """A name that may stand there.

    >>> _name("My-Chats"), _name("7b")
    ('write my_chats', 'write x_7b')
    """
    return f"write {nearest_name(found)}"


def _nothing(found: Any) -> str:
    return ""


_Remedy = Callable[[Any], str]
_KINDS: Mapping[str, tuple[str, _Remedy]] = {
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), ("a whole number", _whole)),
    **dict.fromkeys(("float_type", "float_parsing"), ("a number", _number)),
    **dict.fromkeys(("bool_type", "bool_parsing"), (either(["true", "false"]), _switch)),
    "string_type": ("text", _text),
    "list_type": ("a list", _list),
    "dict_type": ("a mapping", _mapping),
    "string_pattern_mismatch": (
        "a name of small letters, digits and _, which begins with a letter",
        _name,
    ),
    "string_too_short": ("text with something in it", _nothing),
}
