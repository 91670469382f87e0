"""All that is held out, as training text is compared with it: what is found, by which method.

Always by the same text and long runs of words; where a recipe asks for it, also by short texts that
a question holds whole, and by neighbours. How each compares is in its own file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from resources.benchmarks.overlap import METHODS, Hit, Index

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.benchmarks.contained import Contained
    from resources.benchmarks.neighbours import Neighbours

CONTAMINATED, UNDECIDED = "contaminated", "contamination undecided"
# Of documents runs of 13 alone: people write the same 8 words by chance, "at the end of the day it
# is", some in every large document. A shorter question counts where it stands there whole, from 8
# words on; and a run says something only where it is no row of numbers and signs.
DOCUMENTS = ("exact", "ngram_13")
SHORTEST_IN_DOCUMENTS = 8
SPELLED_IN_DOCUMENTS = 5  # words of a run that begin with a letter
BELOW, BELOW_IN_DOCUMENTS = 8, 13  # words: what has fewer is looked for in the questions
PROCEDURAL = "procedural"


class Match(NamedTuple):
    """A hit as a row of `dropped` tells it: the evidence in words, and the question's row id."""

    evidence: str
    row_id: bytes
    reason: str
    method: str
    score: float


class Benchmarks:
    """Problems with `row_id`, `question` and `source` that nothing may be trained on.

    By the text, and by runs of words where a question was written by people: procedural ones share
    their wording by design. `decontaminate` says that such questions are also looked for in the
    other direction and by neighbours, and from which score on one is found for `sure`, or
    `undecided`.
    """

    def __init__(
        self, problems: pa.Table, decontaminate: Mapping[str, float] | None = None
    ) -> None:
        self._ids: list[bytes] = problems["row_id"].to_pylist()
        self._texts: list[str] = problems["question"].to_pylist()
        self._written = [each != PROCEDURAL for each in problems["source"].to_pylist()]
        self._decontaminate = decontaminate

    def questions(self, texts: Sequence[str]) -> dict[int, Match]:
        """Which questions to train on are contaminated, by their place."""
        found = self._matches(self._as_questions.find(texts))
        if self._decontaminate is None:
            return found
        found |= self._contained(self._in_questions, texts, found)
        return found | self._near(texts, found, self._decontaminate)

    def documents(self, texts: Sequence[str]) -> dict[int, Match]:
        """Which documents to train on are, by their place: by 13 words, see `DOCUMENTS`."""
        found = self._matches(self._as_documents.find(texts))
        if self._decontaminate is None:
            return found
        return found | self._contained(self._in_documents, texts, found)

    @cached_property
    def _as_questions(self) -> Index:
        return Index(self._texts, METHODS, self._written)

    @cached_property
    def _as_documents(self) -> Index:
        limits = SHORTEST_IN_DOCUMENTS, SPELLED_IN_DOCUMENTS
        return Index(self._texts, DOCUMENTS, self._written, *limits)

    @cached_property
    def _by_people(self) -> list[int]:
        return [item for item, written in enumerate(self._written) if written]

    @cached_property
    def _in_questions(self) -> Contained:
        return self._of_people(BELOW)

    @cached_property
    def _in_documents(self) -> Contained:
        return self._of_people(BELOW_IN_DOCUMENTS)

    def _of_people(self, below: int) -> Contained:
        from resources.benchmarks.contained import Contained

        return Contained([self._texts[item] for item in self._by_people], below)

    @cached_property
    def _neighbours(self) -> Neighbours:
        from resources.benchmarks.neighbours import Neighbours

        return Neighbours([self._texts[item] for item in self._by_people])

    def _contained(
        self, known: Contained, texts: Sequence[str], found: Mapping[int, Match]
    ) -> dict[int, Match]:
        left = [place for place in range(len(texts)) if place not in found]
        hits = known.find([texts[place] for place in left])
        return self._matches(
            {left[i]: hit._replace(item=self._by_people[hit.item]) for i, hit in hits.items()}
        )

    def _near(
        self, texts: Sequence[str], found: Mapping[int, Match], limits: Mapping[str, float]
    ) -> dict[int, Match]:
        left = [place for place in range(len(texts)) if place not in found]
        items, scores = self._neighbours.nearest([texts[place] for place in left])
        made: dict[int, Match] = {}
        for place, item, score in zip(left, items.tolist(), scores.tolist(), strict=True):
            if score < limits["undecided"]:
                continue
            asked = self._by_people[item]
            hit = Hit(asked, "neighbour", score, " ".join(self._texts[asked].split())[:200])
            reason = CONTAMINATED if score >= limits["sure"] else UNDECIDED
            made[place] = self._match(hit, reason)
        return made

    def _matches(self, hits: Mapping[int, Hit]) -> dict[int, Match]:
        return {place: self._match(hit, CONTAMINATED) for place, hit in hits.items()}

    def _match(self, hit: Hit, reason: str) -> Match:
        evidence = f"{hit.method}, score {hit.score:.2f}: {hit.evidence}"[:300]
        return Match(evidence, self._ids[hit.item], reason, hit.method, hit.score)
