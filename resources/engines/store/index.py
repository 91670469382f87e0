"""The key index: which shard, and which row of it, holds a request's completion.

Sorted arrays, found by bisection: in memory for new shards, in content-addressed Arrow files that
are mapped into memory for the rest. It is made of the shards alone and can be thrown away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.engines.store.shards import Shards
from warehouse.files.filesystem import Files

FOLDER = "index"
SUFFIX = ".arrow"
WRITE_AT = 64  # shards in memory before their keys are written to a file
MERGE_AT = 8  # files before they become one

_TYPES = {
    "high": np.dtype("<u8"),  # bytes 0 to 7 of a key as a big-endian number; 8 to 15 are `low`
    "low": np.dtype("<u8"),
    "created": np.dtype("<f8"),
    "shard": np.dtype("<u4"),
    "row": np.dtype("<u2"),
    "scored": np.dtype("u1"),
}
_DIGESTS = b"shards"  # of a file's metadata: the digests that `shard` counts


@dataclass(frozen=True)
class Place:
    """Where a completion stands, since when, and whether with log-probabilities."""

    shard: str
    row: int
    created: float
    scored: bool


@dataclass(frozen=True)
class _Part:
    """The keys of some shards in order; equal keys may stand side by side."""

    digests: list[str]
    columns: dict[str, npt.NDArray[np.generic]]
    file: str | None = None


class Index:
    """The keys of all shards that it was told of."""

    def __init__(self, files: Files, shards: Shards) -> None:
        self.files, self.shards = files, shards
        self._parts: list[_Part] = []
        self._covered: set[str] = set()

    def refresh(self) -> None:
        """Take up shards that appeared, and drop those that are gone."""
        present = self.shards.present()
        if self._covered - present:
            self._parts, self._covered = [], set()
        if not self._covered:
            self._load(present)
        new = sorted(present - self._covered)
        if new:
            self.add(new)

    def add(self, digests: Sequence[str]) -> None:
        """Take up shards."""
        made = [self._read(digest) for digest in digests if digest not in self._covered]
        self._parts += made
        self._covered.update(digests)
        loose = [part for part in self._parts if part.file is None]
        if len(loose) > MERGE_AT:
            self._replace(loose, _merged(loose))
            loose = [part for part in self._parts if part.file is None]
        if sum(len(part.digests) for part in loose) >= WRITE_AT:
            self._replace(loose, self._written(_merged(loose)))
        filed = [part for part in self._parts if part.file is not None]
        if len(filed) > MERGE_AT:
            self._replace(filed, self._written(_merged(filed)))
            for part in filed:
                self.files.delete(str(part.file))

    def find(self, keys: Sequence[bytes], *, scored: bool = False) -> dict[int, Place]:
        """Of the keys, by their number, where each stands; with `scored` only log-probabilities.

        Of several completions of one key the first with log-probabilities is meant, else the first.
        """
        if not keys or not self._parts:
            return {}
        words = _words(keys)
        found: dict[int, Place] = {}
        for part in self._parts:
            for number, place in _matches(part, words):
                best = found.get(number)
                if (place.scored or not scored) and (best is None or _before(place, best)):
                    found[number] = place
        return found

    def __len__(self) -> int:
        """How many different keys there are."""
        halves = [
            np.stack([part.columns["high"], part.columns["low"]], axis=1) for part in self._parts
        ]
        return len(np.unique(np.concatenate(halves), axis=0)) if halves else 0

    def _replace(self, old: Iterable[_Part], new: _Part) -> None:
        gone = [id(part) for part in old]
        self._parts = [*(part for part in self._parts if id(part) not in gone), new]

    def _read(self, digest: str) -> _Part:
        found = self.shards.keys(digest)
        words = _words(found["key"].to_pylist())
        rows = len(words)
        columns: dict[str, npt.NDArray[np.generic]] = {
            "high": words[:, 0],
            "low": words[:, 1],
            "created": found["created"].to_numpy(),
            "shard": np.zeros(rows),
            "row": np.arange(rows),
            "scored": found["scored"].to_numpy(),
        }
        return _sorted(_Part([digest], columns))

    def _load(self, present: set[str]) -> None:
        """Take up the files of the index whose shards are all there, the largest first."""
        for entry in sorted(self.files.entries(FOLDER, SUFFIX), key=lambda each: -each.size):
            part = self._open(entry.path)
            if part is None or not set(part.digests) <= present:
                self.files.delete(entry.path)
            elif not self._covered & set(part.digests):
                self._parts.append(part)
                self._covered.update(part.digests)

    def _open(self, path: str) -> _Part | None:
        local = self.files.local_path(path)
        try:
            source = pa.memory_map(str(local)) if local else pa.BufferReader(self.files.read(path))
            found = pa.ipc.open_file(source).read_all()
            digests = json.loads(found.schema.metadata[_DIGESTS])
        except (OSError, pa.ArrowInvalid, TypeError, KeyError):
            return None  # gone meanwhile, or damaged: it is made again
        columns = {name: found[name].chunk(0).to_numpy() for name in _TYPES}
        return _Part(digests, columns, path)

    def _written(self, part: _Part) -> _Part:
        """The part in a file; one of the same content may be there already."""
        made = pa.table({name: pa.array(column) for name, column in part.columns.items()})
        made = made.replace_schema_metadata({_DIGESTS: json.dumps(part.digests).encode()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, made.schema) as writer:
            writer.write_table(made)
        data = sink.getvalue()
        path = f"{FOLDER}/{hashlib.sha256(data).hexdigest()}{SUFFIX}"
        self.files.write(path, memoryview(data))
        return self._open(path) or part


def _words(keys: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    """`[keys, 2]`: the first sixteen bytes of each key as two numbers in the keys' order."""
    whole = np.frombuffer(b"".join(key[:16] for key in keys), dtype=">u8")
    return whole.reshape(-1, 2).astype(np.uint64)


def _matches(part: _Part, words: npt.NDArray[np.uint64]) -> Iterator[tuple[int, Place]]:
    high, low, columns = part.columns["high"], part.columns["low"], part.columns
    at = np.searchsorted(high, words[:, 0])
    open_ = np.arange(len(words))
    while len(open_):
        open_ = open_[at[open_] < len(high)]
        open_ = open_[high[at[open_]] == words[open_, 0]]
        for number in open_[low[at[open_]] == words[open_, 1]].tolist():
            row = at[number]
            yield (
                number,
                Place(
                    part.digests[int(columns["shard"][row])],
                    int(columns["row"][row]),
                    float(columns["created"][row]),
                    bool(columns["scored"][row]),
                ),
            )
        at[open_] += 1


def _before(one: Place, other: Place) -> bool:
    return (not one.scored, one.created, one.shard) < (not other.scored, other.created, other.shard)


def _merged(parts: Sequence[_Part]) -> _Part:
    digests: list[str] = []
    shards = []
    for part in parts:
        shards.append(part.columns["shard"].astype(np.uint32) + np.uint32(len(digests)))
        digests += part.digests
    columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in _TYPES}
    return _sorted(_Part(digests, {**columns, "shard": np.concatenate(shards)}))


def _sorted(part: _Part) -> _Part:
    order = np.lexsort((part.columns["low"], part.columns["high"]))
    columns = {name: part.columns[name][order].astype(kind) for name, kind in _TYPES.items()}
    return _Part(part.digests, columns)
