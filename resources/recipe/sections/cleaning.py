"""How what is trained on is cleaned, beyond what always is: exact repeats, and questions held out.

What is left out here is not done, and stands in no asset's slice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from resources.recipe.errors import nearest
from resources.recipe.sections.base import Count, Name, PositiveShare, Section, Text, impossible
from resources.recipe.sections.data import ShareOrPercent

# Why samples are dropped, whatever the recipe asks for.
REASONS = (
    "contaminated",
    "contamination undecided",
    "duplicate",
    "truncated",
    "incorrect",
    "unverified",
    "disobeys_toggle",
    "unpaired",
)


class Deduplicate(Section):
    """Near duplicates are dropped: among the problems of sources, and among SFT samples, within a
    data set and across those of `priority`.

    Two are near that share `near` of their shingles (5 words in a row) and ask with the
    same numbers. Of the data sets (domains and sources) in `priority` each drops what one before it
    keeps.
    """

    near: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    priority: list[Name] = Field(default_factory=list)


class Decontaminate(Section):
    """Questions of benchmarks are also looked for rephrased, and in what a question holds whole.

    What is a neighbour of one with the score `sure` is dropped as contaminated; from `undecided` on
    it is dropped as undecided. Scores are those of `resources/benchmarks/neighbours.py`.
    """

    sure: PositiveShare = 0.25
    undecided: PositiveShare = 0.16

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.undecided > self.sure:
            raise impossible(f"undecided {self.undecided} is more than sure {self.sure}; swap them")
        return self


class Filters(Section):
    """Which answers are dropped from the SFT data, by the filters of `resources/cleaning`.

    `too_long` is a number of words, `repetition` the share of runs of 8 words that came before,
    `other_language` the languages that are kept (ISO 639-1).
    """

    broken_thinking: bool = False
    cut_off: bool = False
    too_long: Count | None = None
    refusal: bool = False
    unboxed: bool = False
    repetition: PositiveShare | None = None
    other_language: list[Text] = Field(default_factory=list)


class Cleaning(Section):
    """What is dropped of what is trained on, beside what no recipe can keep.

    `budgets` says what share of a data set's rows may be dropped for a reason; more stop the asset.
    """

    deduplicate: Deduplicate | None = None
    decontaminate: Decontaminate | None = None
    filters: Filters | None = None
    budgets: dict[Text, ShareOrPercent] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _reasons_are_some(self) -> Self:
        known = [*REASONS, *Filters.model_fields]
        for reason in self.budgets:
            if reason not in known:
                raise impossible(f"budgets: no reason '{reason}'; {nearest(reason, known)}")
        return self

    @property
    def of_samples(self) -> dict[str, Any]:
        """What of it is in the slice of SFT samples, beside comparisons."""
        asked = self.filters.model_dump(mode="json", exclude_defaults=True) if self.filters else {}
        made: dict[str, Any] = {"filters": asked} if asked else {}
        return made | ({"budgets": self.budgets} if self.budgets else {})


def faults(cleaning: Cleaning | None, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """(key path, what is wrong) of names that are none of the data sets `known`."""
    deduplicate = cleaning.deduplicate if cleaning else None
    for name in deduplicate.priority if deduplicate else ():
        if name not in known:
            wrong = f"no domain of sft_data and no source '{name}'; {nearest(name, known)}"
            yield "cleaning.deduplicate.priority", wrong


def decontaminated(cleaning: Cleaning | None, benchmarks: Collection[str]) -> dict[str, Any]:
    """What is in the slice of all that is compared with declared benchmarks."""
    if cleaning is None or cleaning.decontaminate is None or not benchmarks:
        return {}
    return {"decontaminate": cleaning.decontaminate.model_dump(mode="json")}
