"""Texts as sets of shingles, hashed: what near duplicates share.

A shingle is `SIZE` words in a row; a shorter text is one. Knows sets, not which texts are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np

from resources.cleaning.runs import flat, hashes
from resources.cleaning.words import words

SIZE = 5  # words, as in datatrove
KEPT = 1 << 18  # words whose hashes are remembered


class Shingles:
    """Cuts batches of texts; remembers the hashes of words it has met."""

    def __init__(self) -> None:
        self._known = _Known({"": 0})

    def of(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The shingles of all texts, uint64, and `[texts + 1]` offsets: text i's are
        `values[offsets[i]:offsets[i + 1]]`, in order and each once.

        >>> values, offsets = Shingles().of(["a b c d e f", "a b", "", "A, b!"])
        >>> offsets.tolist(), bool(values[2] == values[3])
        ([0, 2, 3, 3, 4], True)
        """
        if len(self._known) > KEPT:
            self._known = _Known({"": 0})
        spoken = [words(text) for text in texts]
        ids, ends = flat(spoken, self._ids_of)
        counts = np.array([len(each) for each in spoken], np.int64)
        lengths = {SIZE, *np.unique(counts[(counts > 0) & (counts < SIZE)]).tolist()}
        rows, values = [], []
        for length, (places, found) in hashes(ids, lengths):
            row = np.searchsorted(ends, places)
            wanted = counts[row] == length if length < SIZE else np.ones(len(row), bool)
            rows.append(row[wanted])
            values.append(found[wanted])
        row, value = np.concatenate(rows), np.concatenate(values)
        order = np.lexsort((value, row))
        row, value = row[order], value[order]
        first = np.ones(len(row), bool)
        first[1:] = (row[1:] != row[:-1]) | (value[1:] != value[:-1])
        return value[first], np.searchsorted(row[first], np.arange(len(texts) + 1))

    def _ids_of(self, every: Iterable[str]) -> Iterator[int]:
        return map(self._known.__getitem__, every)


class _Known(dict[str, int]):
    def __missing__(self, word: str) -> int:
        digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        found = self[word] = int.from_bytes(digest, "little") or 1
        return found


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """The share of shingles that two sets have in common, of all that either has.

    >>> jaccard(np.array([1, 2, 3]), np.array([2, 3, 4]))
    0.5
    """
    if not len(one) or not len(other):
        return 0.0
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
