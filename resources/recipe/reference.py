"""Which recipe is meant: its name or path, and what `--set` changes in it; reads no recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from resources.recipe.errors import RecipeError
from resources.recipe.reading.finding import HERE, find, title
from resources.recipe.reading.overrides import anchored


class Reference(NamedTuple):
    """A recipe and its overrides, `KEY=VALUE` each; `load(*reference)` loads it."""

    recipe: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def of(cls, recipe: str, overrides: Sequence[str] = ()) -> Self:
        """The reference that means the same wherever it is read again.

        A recipe that cannot be found keeps its words, for loading to complain about.

        Raises:
            RecipeError: an override is malformed.
        """
        written_out = tuple(anchored(each) for each in overrides)
        try:
            path = find(recipe)
        except RecipeError:
            return cls(recipe, written_out)
        return cls(title(path) if HERE in path.parents else str(path), written_out)

    def __str__(self) -> str:
        return " ".join([self.recipe, *(f"--set {each}" for each in self.overrides)])

    def options(self) -> list[str]:
        """The words of a command line that mean this reference."""
        sets = [word for each in self.overrides for word in ("--set", each)]
        return ["--recipe", self.recipe, *sets]
