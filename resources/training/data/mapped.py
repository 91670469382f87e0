"""Examples too many for memory: in two flat files of the work folder, mapped where they are read.

Knows token ids, masks and files; not where examples come from. Batches are those of examples in
memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from resources.training.data.examples import Examples
from warehouse.files.filesystem import replacing

BYTES = 2_000_000_000  # of ids and masks that are held in memory unless `examples_bytes` says so
IDS, MASK, LENGTHS = "ids.int32", "mask.bool", "lengths.npy"


class MappedExamples(Examples):
    """Examples that lie anywhere in flat arrays: starts and lengths are held, tokens are not.

    `ids` int32 and `mask` bool are whole files mapped into memory; what is cut out of them or taken
    is a view.
    """

    def __init__(
        self, ids: np.ndarray, mask: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> None:
        self.ids, self.mask, self.starts, self._lengths = ids, mask, starts, lengths

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        start = self.starts[index]
        end = start + self._lengths[index]
        return self.ids[start:end], self.mask[start:end]

    @property
    def lengths(self) -> np.ndarray:
        return self._lengths

    def take(self, indices: Sequence[int] | np.ndarray) -> MappedExamples:
        chosen = np.asarray(indices, np.int64)
        return MappedExamples(self.ids, self.mask, self.starts[chosen], self._lengths[chosen])

    def cut(self, length: int) -> MappedExamples:
        pieces = -(-self._lengths // length)
        # The number of each piece within its example: 0 1 2 | 0 | 0 1 ...
        number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        starts = np.repeat(self.starts, pieces) + number * length
        left = np.repeat(self._lengths, pieces) - number * length
        return MappedExamples(self.ids, self.mask, starts, np.minimum(left, length))

    def with_loss(self) -> np.ndarray:
        ends = self.starts + self._lengths
        found = (
            self.mask[start + 1 : end].any() for start, end in zip(self.starts, ends, strict=True)
        )
        return np.flatnonzero(np.fromiter(found, bool, len(self)))


def gather(parts: Iterable[Examples], folder: Path, most: int = BYTES) -> Examples:
    """All the parts' examples in order: in memory up to `most` bytes, else in files of `folder`.

    Parts are read one by one, and not at all when the files are whole from an earlier call.
    """
    if (folder / LENGTHS).is_file():
        return _mapped(folder)
    held: list[Examples] = []
    lengths: list[np.ndarray] = []
    size = 0
    with ExitStack() as stack:
        files: tuple[BinaryIO, BinaryIO] | None = None
        for part in parts:
            lengths.append(part.lengths)
            held.append(part)
            size += part.ids.nbytes + part.mask.nbytes
            if size > most and files is None:
                folder.mkdir(parents=True, exist_ok=True)
                ids, mask = ((folder / name).open("wb") for name in (IDS, MASK))
                files = stack.enter_context(ids), stack.enter_context(mask)
            if files is not None:
                for each in held:
                    files[0].write(np.ascontiguousarray(each.ids, np.int32).data)
                    files[1].write(np.ascontiguousarray(each.mask, bool).data)
                held = []
        if files is None:
            return _joined(held, lengths)
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    with replacing(folder / LENGTHS) as aside:
        np.save(aside, np.concatenate(lengths).astype(np.int64))
    return _mapped(folder)


def _joined(parts: Sequence[Examples], lengths: Sequence[np.ndarray]) -> Examples:
    if not parts:
        return Examples(np.empty(0, np.int32), np.empty(0, bool), np.zeros(1, np.int64))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return Examples(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.mask for part in parts]),
        offsets,
    )


def _mapped(folder: Path) -> MappedExamples:
    lengths = np.load(folder / LENGTHS)
    starts = np.cumsum(lengths) - lengths
    ids = np.memmap(folder / IDS, np.int32, "r")
    mask = np.memmap(folder / MASK, bool, "r")
    if len(ids) != lengths.sum() or len(mask) != len(ids):
        raise ValueError(
            f"{folder} holds {len(ids)} token ids and {len(mask)} mask entries for "
            f"{lengths.sum()} tokens; remove the folder, and the examples are written again"
        )
    # Plain arrays over the maps: slicing a memmap object costs microseconds each time.
    return MappedExamples(np.asarray(ids), np.asarray(mask), starts, lengths)
