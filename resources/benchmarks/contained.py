"""The other direction: short texts that stand whole in a benchmark question.

Runs of n words (`overlap.py`) cannot find them, since they have fewer. Knows texts alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from resources.benchmarks.overlap import SHORTEST, Hit
from resources.cleaning.runs import flat, hashes
from resources.cleaning.words import reach, words

METHOD = "contained"


class Contained:
    """Questions by all their runs of fewer than `below` words."""

    def __init__(self, questions: Sequence[str], below: int) -> None:
        spoken = [words(text) for text in questions]
        vocabulary: dict[str, int] = {}
        for word in itertools.chain.from_iterable(spoken):
            vocabulary.setdefault(word, len(vocabulary) + 1)
        self._below, self._vocabulary, self._spoken = below, vocabulary, spoken
        self._ids, self._ends = flat(spoken, self._ids_of)
        self._runs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def find(self, texts: Sequence[str]) -> dict[int, Hit]:
        """By place, the texts of at least `SHORTEST` words that a question holds whole.

        The score is the share of the question's words.

        >>> asked = Contained(["Ann has nine brown ducks and a red hen. How many birds?"], 8)
        >>> found = asked.find(["nine brown ducks and a red hen", "ducks and a hen", "How many?"])
        >>> {place: (hit.method, round(hit.score, 2)) for place, hit in found.items()}
        {0: ('contained', 0.58)}
        """
        found: dict[int, Hit] = {}
        for place, text in enumerate(texts):
            if text.count(" ") >= 2 * self._below:
                continue
            spoken = words(text)
            factor = reach(spoken)
            if not SHORTEST * factor <= len(spoken) < self._below * factor:
                continue
            item = self._holding(spoken)
            if item is not None:
                score = len(spoken) / len(self._spoken[item])
                found[place] = Hit(item, METHOD, score, " ".join(spoken))
        return found

    def _holding(self, spoken: list[str]) -> int | None:
        """The first question that holds these words in a row."""
        ids, _ = flat([spoken], self._ids_of)
        if not ids[:-1].all():
            return None
        values, items = self._of_length(len(spoken))
        ((_, (_, own)),) = hashes(ids, [len(spoken)])
        place = int(np.searchsorted(values, own[0]))
        return int(items[place]) if place < len(values) and values[place] == own[0] else None

    def _of_length(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of all runs of a length in order, and the questions that they are of."""
        if length not in self._runs:
            ((_, (places, values)),) = hashes(self._ids, [length])
            order = np.argsort(values, kind="stable")
            items = np.searchsorted(self._ends, places[order])
            self._runs[length] = values[order], items
        return self._runs[length]

    def _ids_of(self, every: Iterable[str]) -> Iterator[int]:
        return map(self._vocabulary.get, every, itertools.repeat(0))
