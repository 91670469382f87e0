"""Jinja texts and expressions over the fields of one row, in a sandbox.

As lm-eval's `doc_to_text`: a field that is not there is an error, a last line end is kept. Knows no
benchmark.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateError(ValueError):
    """A template that is no Jinja, or that a row does not fit: what it says and why."""


def text(source: str, row: Mapping[str, Any]) -> str:
    """The template over a row.

    >>> text("{{ a }}: {{ b | join(', ') }}", {"a": "x", "b": ["1", "2"]})
    'x: 1, 2'
    """
    try:
        return _text(source).render(**row)
    except jinja2.UndefinedError as error:
        raise TemplateError(f"{source!r}: {error}; the fields are {', '.join(row)}") from None
    except Exception as error:  # whatever a row does to a template it was not made for
        raise TemplateError(f"{source!r}: {error}") from None


def value(source: str, row: Mapping[str, Any]) -> Any:
    """The expression over a row, of the type it has.

    >>> value("labels.index(key)", {"labels": ["A", "B"], "key": "B"})
    1
    """
    try:
        found = _expression(source)(**row)
    except Exception as error:
        raise TemplateError(f"{source!r}: {error}") from None
    if isinstance(found, jinja2.Undefined):
        raise TemplateError(f"{source!r} is not among the fields {', '.join(row)}")
    return found


def checked(source: str, *, expression: bool = False) -> None:
    """TemplateError where a source is no Jinja."""
    try:
        (_expression if expression else _text)(source)
    except jinja2.TemplateError as error:
        raise TemplateError(f"{source!r} is no Jinja: {error}") from None


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    made.filters["regex_replace"] = lambda text, old, new: re.sub(old, new, text)
    return made


@functools.cache
def _text(source: str) -> jinja2.Template:
    return _environment().from_string(source)


@functools.cache
def _expression(source: str) -> Any:
    return _environment().compile_expression(source, undefined_to_none=False)
