"""Runs of words as numbers: many texts' words in one array, and a hash of every run of a length.

Knows words as numbers that the caller gives them; 0 is none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

CHARACTERS = 1 << 20  # of texts whose words are in memory at once
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


def flat(
    spoken: Sequence[list[str]], ids_of: Callable[[Iterable[str]], Iterable[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all texts' words, that of "" behind each text; where texts end."""
    counts = np.array([len(each) + 1 for each in spoken], np.int64)
    every = itertools.chain.from_iterable(itertools.chain(each, ("",)) for each in spoken)
    ends = np.cumsum(counts) - 1
    return np.fromiter(ids_of(every), np.uint64, int(counts.sum())), ends


def hashes(
    ids: np.ndarray, lengths: Iterable[int]
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """For each length, where runs of so many words that are not 0 begin, and their hashes.

    The hash of a run goes on from that of the run one word shorter.
    """
    wanted = sorted(lengths)
    if not wanted:
        return
    stops = np.flatnonzero(ids == 0)
    follow = np.repeat(stops, np.diff(stops, prepend=-1)) - np.arange(len(ids))
    places = np.flatnonzero(follow >= wanted[0])
    follow = follow[places]
    found = np.zeros(len(places), np.uint64)
    done = 0
    for length in wanted:
        long_enough = follow >= length
        places, follow, found = places[long_enough], follow[long_enough], found[long_enough]
        for offset in range(done, length):
            found = (found ^ ids[places + offset]) * _PRIME
            found ^= found >> _SHIFT
        done = length
        yield length, (places, found)


def cuts(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Batches of about `CHARACTERS`, a text never cut."""
    start = held = 0
    for place, text in enumerate(texts):
        if held and held + len(text) > CHARACTERS:
            yield start, place
            start, held = place, 0
        held += len(text)
    if start < len(texts):
        yield start, len(texts)
