"""How what is trained on is cleaned, beyond what always is: exact repeats, and questions held out.

What is left out here is not done, and stands in no asset's slice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated

from pydantic import Field

from resources.recipe.errors import nearest
from resources.recipe.sections.base import Name, Section


class Deduplicate(Section):
    """Near duplicates among SFT samples are dropped, within a data set and across those of
    `priority`.

    Two samples are near that share `near` of their shingles (5 words in a row) and ask with the
    same numbers. Of the data sets (domains and sources) in `priority` each drops what one before it
    keeps.
    """

    near: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    priority: list[Name] = Field(default_factory=list)


class Cleaning(Section):
    """What is dropped of the SFT data, beside what no recipe can keep."""

    deduplicate: Deduplicate | None = None


def faults(cleaning: Cleaning | None, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """(key path, what is wrong) of names that are none of the data sets `known`."""
    deduplicate = cleaning.deduplicate if cleaning else None
    for name in deduplicate.priority if deduplicate else ():
        if name not in known:
            wrong = f"no domain of sft_data and no source '{name}'; {nearest(name, known)}"
            yield "cleaning.deduplicate.priority", wrong
