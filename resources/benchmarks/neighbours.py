"""The benchmark question most like a text: what is rephrased, which runs of words do not find.

By the cosine of their runs of four characters, weighed by how few questions have them (TF-IDF, a
run counted once), less that with the next questions: a text like all questions of a kind is like
none. Texts come in batches of any number, and memory is the index and blocks of some 30 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from resources.cleaning.runs import cuts, hashes
from resources.tasks.held_out import text_key

SIZE = 4  # characters
NEXT = 4  # questions that the nearest one must stand out from
COMMON = 0.1  # of the questions: a run that more of them have says nothing, and is left out
RARE = 20  # questions: runs of no more than these are never left out
# A text so many times as long as the longest question is like none: unless it repeats itself, its
# cosine with one is about 1 / sqrt(40) = 0.16 at most, even where it holds all of it.
LONGEST = 40
BLOCK = 1 << 22  # sums held at once, and products made at once
_ROW_BITS = np.uint64(20)
_FEATURE = np.uint64((1 << 44) - 1)


class Neighbours:
    """Questions by their runs, each with the questions that have it."""

    def __init__(self, questions: Sequence[str]) -> None:
        rows, features = _features(questions)
        known, counts = np.unique(features, return_counts=True)
        common = counts > max(RARE, COMMON * len(questions))
        self._items = len(questions)
        self._longest = LONGEST * max(map(len, questions), default=0)
        self._common = known[common]
        self._known = known[~common]
        self._rarity = np.log((1 + self._items) / (1 + counts[~common])) + 1
        self._unknown = math.log(1 + self._items) + 1
        place, there = _places(self._known, features)
        rows, place = rows[there], place[there]
        squares = np.bincount(rows, self._rarity[place] ** 2, minlength=self._items)
        order = np.argsort(place, kind="stable")
        self._having = rows[order]
        self._weights = (self._rarity[place] / np.sqrt(squares[rows]))[order]
        self._starts = np.searchsorted(place[order], np.arange(len(self._known) + 1))

    def nearest(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """By text, the place of the question most like it, and the score, `[texts]` each.

        The score is their cosine less the mean of those with the `NEXT` most like it after that one
        (0 for each that there is not).

        >>> asked = ["A farmer sells nine brown ducks.", "Which primes lie below fifty?"]
        >>> items, scores = Neighbours(asked).nearest([asked[1].upper(), "xyzzy"])
        >>> int(items[0]), scores.round(6).tolist()
        (1, [1.0, 0.0])
        """
        best = np.zeros(len(texts), np.int64)
        scores = np.zeros(len(texts))
        short = np.flatnonzero([self._items and len(text) <= self._longest for text in texts])
        chosen = [texts[place] for place in short]
        step = min(4096, max(1, BLOCK // max(self._items, 1)))
        for first, last in cuts(chosen):
            for start in range(first, last, step):
                part = slice(start, min(start + step, last))
                best[short[part]], scores[short[part]] = self._standing_out(chosen[part])
        return best, scores

    def _standing_out(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        sums = self._sums(texts)
        most = min(NEXT + 1, self._items)
        highest = np.partition(sums, self._items - most, axis=1)[:, -most:]
        nearest = highest.max(axis=1)
        return sums.argmax(axis=1), nearest - (highest.sum(axis=1) - nearest) / NEXT

    def _sums(self, texts: Sequence[str]) -> np.ndarray:
        """The cosine of each text with each question, `[texts, questions]`."""
        rows, features = _features(texts)
        place, there = _places(self._known, features)
        own = np.bincount(rows[there], self._rarity[place[there]] ** 2, minlength=len(texts))
        unknown = ~there & ~_places(self._common, features)[1]
        others = np.bincount(rows[unknown], minlength=len(texts)) * self._unknown**2
        norms = np.sqrt(np.maximum(own + others, 1e-12))
        rows, place = rows[there], place[there]
        weights = self._rarity[place] / norms[rows]
        sums = np.zeros(len(texts) * self._items)
        counts = self._starts[place + 1] - self._starts[place]
        for some in _cuts(counts):
            many = counts[some]
            first = np.repeat(self._starts[place[some]] - np.cumsum(many) + many, many)
            at = first + np.arange(len(first))
            cells = np.repeat(rows[some] * self._items, many) + self._having[at]
            products = np.repeat(weights[some], many) * self._weights[at]
            low = int(rows[some][0]) * self._items
            added = np.bincount(cells - low, products)
            sums[low : low + len(added)] += added
        return sums.reshape(len(texts), self._items)


def _features(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The runs of all texts, each once a text: the text's place, and 44 bits of the run's hash."""
    plain = "".join(f" {text_key(text)} ".replace("\0", " ") + "\0" for text in texts)
    characters = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), np.uint32)
    ends = np.flatnonzero(characters == 0)
    for _, (places, values) in hashes(characters.astype(np.uint64), [SIZE]):
        rows = np.searchsorted(ends, places).astype(np.uint64)
        keys = np.unique(rows << (np.uint64(64) - _ROW_BITS) | values >> _ROW_BITS)
        return (keys >> (np.uint64(64) - _ROW_BITS)).astype(np.int64), keys & _FEATURE
    raise AssertionError("one length gives one answer")


def _places(known: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in `known`, which is sorted, values stand, and which do."""
    if not len(known):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return place, known[place] == values


def _cuts(counts: np.ndarray) -> Iterator[slice]:
    """Slices whose counts sum to about `BLOCK`."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK, "right")))
        yield slice(start, stop)
        start = stop
