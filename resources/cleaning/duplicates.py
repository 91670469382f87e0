"""Which rows say the same as one that came before: exactly, or nearly so.

MinHash (`rensa`) only proposes pairs; what is a duplicate is decided by the exact Jaccard
similarity of both rows' shingles, read again from a file. Rows come once, in the order in which
they are to be kept; memory is some 130 bytes a row, whatever the texts' length.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from resources.cleaning.runs import cuts
from resources.cleaning.shingles import Shingles, jaccard
from warehouse.errors import explained

# 20 bands of 6: of pairs at a similarity of 0.8 it proposes 99.8 %, at 0.7 92 %, at 0.5 27 %.
BANDS, ROWS_OF_BAND = 20, 6
SEED = 20260101  # of the permutations: part of what is proposed, so one for all recipes
MOST_COMPARED = 64  # kept rows that one row is compared with, those with most bands in common first
MOST_OF_GROUP = 512  # kept rows with the same band that later rows are held against

Method = Literal["exact", "minhash"]


class Duplicate(NamedTuple):
    """A row that is not kept: its place, that of the kept one, how alike, and how it was found."""

    place: int
    kept: int
    similarity: float
    method: Method


@dataclass
class Found:
    """Every duplicate, in order of place, and how many pairs were left uncompared."""

    duplicates: list[Duplicate]
    uncompared: int = 0


class Duplicates:
    """Rows that come once, in the order in which they are to be kept.

    With `near` (None: exact repeats only) a row is a duplicate of a kept one if they share that
    much of their shingles. Each duplicate is that similar to the row that is kept for it, not to
    another duplicate: a chain of small changes is cut, not swallowed. `file` holds the shingles.
    """

    def __init__(self, file: Path, near: float | None) -> None:
        self.near, self._file = near, file
        self._keys = bytearray()
        self._bands: list[np.ndarray] = []
        self._ends = array("q", [0])
        self._shingles = Shingles()
        file.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._keys) // 16

    def add(
        self, keys: Sequence[bytes], texts: Sequence[str] = (), apart: Sequence[str] = ()
    ) -> None:
        """More rows: `keys` (16 bytes) are equal for exact repeats.

        With `near`, `texts` is what is compared, and rows whose `apart` differs are never near.
        """
        self._keys += b"".join(keys)
        if self.near is None or not keys:
            return
        start = len(self) - len(keys)
        with explained(f"write {self._file}"), self._file.open("ab") as out:
            for first, last in cuts(texts):
                values, offsets = self._shingles.of(texts[first:last])
                out.write(values.tobytes())
                self._ends.extend((offsets[1:] + self._ends[-1]).tolist())
                self._bands.append(_bands(values, offsets, apart[first:last], start + first))

    def found(self) -> Found:
        """All duplicates among the rows."""
        same = _first_of_each(np.frombuffer(bytes(self._keys), np.dtype("V16")))
        repeats = np.flatnonzero(same != np.arange(len(same)))
        if self.near is None or not len(self):
            exact = [Duplicate(p, int(same[p]), 1.0, "exact") for p in repeats.tolist()]
            return Found(exact)
        bands = np.concatenate(self._bands, axis=1)
        self._bands.clear()
        shared = _shared(bands)
        suspected = np.union1d(np.flatnonzero((shared >= 0).any(axis=0)), repeats)
        with explained(f"read {self._file}"), self._file.open("rb") as values:
            return self._decided(self.near, suspected, same, shared, values.fileno())

    def _decided(
        self, near: float, suspected: np.ndarray, same: np.ndarray, shared: np.ndarray, values: int
    ) -> Found:
        """Row by row in order: kept, or a duplicate of a row that is kept."""
        kept_of: dict[int, list[int]] = {}  # by group of rows that share a band, those kept
        lost: dict[int, Duplicate] = {}
        found = Found([])
        for place in suspected.tolist():
            first = int(same[place])
            if first != place:
                repeat = Duplicate(place, first, 1.0, "exact")
                lost[place] = lost[first]._replace(place=place) if first in lost else repeat
                continue
            groups = shared[:, place]
            groups = groups[groups >= 0].tolist()
            votes = Counter(kept for group in groups for kept in kept_of.get(group, ()))
            tried = sorted(votes, key=lambda kept: (-votes[kept], kept))
            found.uncompared += max(0, len(tried) - MOST_COMPARED)
            similarity, kept = self._nearest(values, place, tried[:MOST_COMPARED])
            if similarity >= near:
                lost[place] = Duplicate(place, kept, similarity, "minhash")
                continue
            for group in groups:
                members = kept_of.setdefault(group, [])
                if len(members) < MOST_OF_GROUP:
                    members.append(place)
                else:
                    found.uncompared += 1
        found.duplicates = [lost[place] for place in sorted(lost)]
        return found

    def _nearest(self, values: int, place: int, tried: Sequence[int]) -> tuple[float, int]:
        """The highest similarity to one of the rows `tried`, and that row: the first of equals."""
        own = self._read(values, place) if tried else np.empty(0, np.uint64)
        pairs = [(jaccard(own, self._read(values, kept)), kept) for kept in tried]
        return max(pairs, key=lambda pair: (pair[0], -pair[1]), default=(0.0, place))

    def _read(self, values: int, place: int) -> np.ndarray:
        start, stop = self._ends[place], self._ends[place + 1]
        return np.frombuffer(os.pread(values, 8 * (stop - start), 8 * start), np.uint64)


def _bands(values: np.ndarray, offsets: np.ndarray, apart: Sequence[str], start: int) -> np.ndarray:
    """`[BANDS, rows]` hashes, uint32, of the rows from the place `start` on.

    A row without shingles is like no other.
    """
    from rensa import RMinHash

    count = BANDS * ROWS_OF_BAND
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        values, offsets.astype(np.uint64), num_perm=count, seed=SEED
    )
    rows = np.array(matrix.to_rows(), np.uint64).reshape(-1, BANDS, ROWS_OF_BAND)
    salt = np.array([_number(label) for label in apart], np.uint64)
    empty = np.flatnonzero(np.diff(offsets) == 0)
    salt[empty] ^= (start + empty + 1).astype(np.uint64)
    hashed = np.repeat(salt[:, None], BANDS, axis=1)
    for column in range(ROWS_OF_BAND):
        hashed = (hashed ^ rows[:, :, column]) * np.uint64(0x9E3779B97F4A7C15)
        hashed ^= hashed >> np.uint64(29)
    return (hashed >> np.uint64(32)).astype(np.uint32).T


def _number(label: str) -> int:
    return int.from_bytes(blake2b(label.encode(), digest_size=8).digest(), "little")


def _first_of_each(keys: np.ndarray) -> np.ndarray:
    """By row, the first row with the same key."""
    halves = keys.view(np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: of equals the first row first
    new = np.ones(len(order), bool)
    new[1:] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1)
    first = np.empty(len(order), np.int64)
    first[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]] if len(order) else order
    return first


def _shared(bands: np.ndarray) -> np.ndarray:
    """In place of each band's hash, the number of the group of rows that have it; -1 for one alone.

    The numbers of different bands differ.
    """
    shared = bands.view(np.int32)
    begun = 0
    for band in range(len(bands)):
        order = np.argsort(bands[band], kind="stable")
        ordered = bands[band][order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else order
        sizes = np.diff(np.r_[starts, len(order)])
        numbers = np.where(sizes > 1, np.cumsum(sizes > 1) - 1 + begun, -1)
        begun += int((sizes > 1).sum())
        shared[band][order] = np.repeat(numbers, sizes).astype(np.int32)
    return shared
