"""What the types and values of a recipe are called in messages; knows no schema."""

from __future__ import annotations

import json
import re
import types
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

_PLAIN = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_LONGEST = 60  # characters of a value in a message


def nearest_name(text: object) -> str:
    """The name of small letters, digits and _ that is nearest to a text.

    >>> nearest_name("My-Chats"), nearest_name("7b"), nearest_name("déjà vu"), nearest_name("日本")
    ('my_chats', 'x_7b', 'deja_vu', 'x')
    """
    plain = unicodedata.normalize("NFKD", str(text).lower()).encode("ascii", "ignore").decode()
    word = re.sub(r"\W+", "_", plain).lstrip("_") or "x"
    return word if word[0].isalpha() else f"x_{word}"


def type_name(annotation: Any) -> str:
    """What a type asks for, in the words of a recipe's writer.

    >>> type_name(list[int]), type_name(dict[str, float] | None)
    ('a list of whole numbers', 'a mapping of names to numbers, or null')
    >>> type_name(Literal["on", "off"]), type_name(Annotated[str | int, ...])
    ("'on' or 'off'", 'text or a whole number')
    """
    inner, parts = get_origin(annotation), get_args(annotation)
    if inner is Annotated:
        return type_name(parts[0])
    if inner in (Union, types.UnionType):
        names = list(dict.fromkeys(type_name(each) for each in parts if each is not type(None)))
        return f"{either(names)}{', or null' if type(None) in parts else ''}"
    if inner is Literal:
        return either(repr(each) for each in parts)
    if inner is list:
        return f"a list of {_many(parts[0])}"
    if inner is dict:
        return f"a mapping of {_many(parts[0], 'names')} to {_many(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section with {', '.join(annotation.model_fields)}"
    return _PLAIN.get(annotation, "a value")


def _many(annotation: Any, texts: str = "texts") -> str:
    """Several of a type, texts under the name that they have here."""
    if get_origin(annotation) is Annotated:
        return _many(get_args(annotation)[0], texts)
    known = {int: "whole numbers", float: "numbers", str: texts, bool: "true or false"}
    if get_origin(annotation) is Literal or annotation not in known:
        return type_name(annotation).removeprefix("a ").replace("section with", "sections with")
    return known[annotation]


def either(names: Iterable[str]) -> str:
    """Alternatives in a row.

    >>> either(["a", "b", "c"])
    'a, b or c'
    """
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def shown(value: Any) -> str:
    """A value as messages show it: short, and on one line.

    >>> shown("lots"), shown(None), shown(list(range(40)))
    ("'lots'", 'null', '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, …')
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
