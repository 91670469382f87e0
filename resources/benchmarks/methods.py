"""The methods by name: how answers come about, and what is measured of them.

A method is a module with `answer(subject, asked, seed)` and `measure(answers, asked)`, and one
entry here and in the recipe's `Method`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from resources.benchmarks.answers import Answer, Asked, Measure, Subject
from resources.recipe.sections.benchmark import METHODS


class Method(Protocol):
    """A method's module."""

    def answer(self, subject: Subject, asked: Asked, seed: int) -> list[Answer]:
        """Every answer, judged."""

    def measure(self, answers: Sequence[Answer], asked: Asked) -> list[Measure]:
        """The numbers about all of them, the first the one that a table shows."""


def method(name: str) -> Method:
    """The method of a name; KeyError where there is none."""
    if name not in METHODS:
        raise KeyError(name)
    return cast(Method, importlib.import_module(f"resources.benchmarks.{name}"))
