"""Examples from tables, and the batches of every optimizer step as a function of the step.

Knows Arrow tables and lengths, not what the tokens mean. Every draw depends on the seed and the
epoch only, so any step's batch can be made again after a resume.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.training.data.packing import Example, collate_packed, with_total

if TYPE_CHECKING:
    import pyarrow as pa


class Examples(Sequence[Example]):
    """Token sequences with loss masks, held as two flat arrays and offsets into them."""

    def __init__(self, ids: np.ndarray, mask: np.ndarray, offsets: np.ndarray) -> None:
        self.ids, self.mask, self.offsets = ids, mask, offsets

    @classmethod
    def from_lists(cls, examples: Sequence[Example]) -> Examples:
        """From `(ids, mask)` pairs, as `encode_example` of the chat template returns them."""
        offsets = np.cumsum([0, *(len(ids) for ids, _ in examples)])
        chain = itertools.chain.from_iterable
        ids = np.fromiter(chain(ids for ids, _ in examples), np.int32, offsets[-1])
        mask = np.fromiter(chain(mask for _, mask in examples), bool, offsets[-1])
        return cls(ids, mask, offsets)

    @classmethod
    def from_table(cls, table: pa.Table) -> Examples:
        """From the `text_ids` and `loss_mask` list columns of a `corpus` table."""
        ids = table.column("text_ids").combine_chunks()
        mask = table.column("loss_mask").combine_chunks()
        lengths = ids.value_lengths().to_numpy()
        if not np.array_equal(lengths, mask.value_lengths().to_numpy()):
            row = int(np.argmax(lengths != mask.value_lengths().to_numpy()))
            raise ValueError(f"corpus row {row}: text_ids and loss_mask differ in length")
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        flat_mask = mask.flatten().to_numpy(zero_copy_only=False)
        return cls(ids.flatten().to_numpy(), flat_mask.astype(bool), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        start, end = self.offsets[index], self.offsets[index + 1]
        return self.ids[start:end], self.mask[start:end]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example."""
        return np.diff(self.offsets)

    def take(self, indices: Sequence[int] | np.ndarray) -> Examples:
        """The given examples, in the given order."""
        return Examples.from_lists([self[int(i)] for i in indices])

    def cut(self, length: int) -> Examples:
        """Examples longer than `length` cut into pieces that each stand as an example."""
        if not len(self) or self.lengths.max() <= length:
            return self
        pieces = [np.arange(a, b, length) for a, b in itertools.pairwise(self.offsets)]
        offsets = np.concatenate([*pieces, self.offsets[-1:]])
        return Examples(self.ids, self.mask, offsets)

    def with_loss(self) -> np.ndarray:
        """Indices of the examples in which at least one predicted token carries loss."""
        counts = np.concatenate([[0], np.cumsum(self.mask)])
        # The first token of an example is never predicted.
        first = self.mask[np.minimum(self.offsets[:-1], max(len(self.mask) - 1, 0))]
        return np.flatnonzero(counts[self.offsets[1:]] - counts[self.offsets[:-1]] - first > 0)


def split_held_out(count: int, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices `(training, held out)`, both ascending: a seeded draw without replacement."""
    order = np.random.default_rng([seed, 0x4E1D]).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def plan_steps(
    lengths: Sequence[int] | np.ndarray,
    batch_tokens: int,
    seed: int,
    *,
    tokens: int | None = None,
    epochs: int | None = None,
) -> list[np.ndarray]:
    """The units (by index) of every optimizer step, about `batch_tokens` tokens each.

    Each epoch is a new seeded permutation cut into steps of nearly equal token counts, so that
    every unit is used exactly once an epoch. The run is `epochs` long, or as many steps as `tokens`
    hold.
    """
    if (tokens is None) == (epochs is None):
        raise ValueError("give the training length either in tokens or in epochs")
    if not len(lengths):
        raise ValueError("there is nothing to train on: the dataset is empty")
    sizes = np.asarray(lengths)
    per_epoch = min(len(sizes), max(1, round(int(sizes.sum()) / batch_tokens)))
    wanted = max(1, round(tokens / batch_tokens)) if tokens else per_epoch * (epochs or 0)
    steps: list[np.ndarray] = []
    epoch = 0
    while len(steps) < wanted:
        order = np.random.default_rng([seed, epoch]).permutation(len(sizes))
        steps.extend(_cut(order, sizes[order], per_epoch))
        epoch += 1
    return steps[:wanted]


def _cut(order: np.ndarray, sizes: np.ndarray, parts: int) -> list[np.ndarray]:
    """`order` in `parts` consecutive, non-empty pieces of nearly equal total size."""
    ends = np.cumsum(sizes)
    number = np.arange(1, parts)
    cuts = np.searchsorted(ends, ends[-1] * number / parts)
    # Increasing by at least one from cut to cut, and leaving one unit for each piece after it.
    cuts = np.maximum.accumulate(np.maximum(cuts, number) - number) + number
    return np.split(order, np.minimum(cuts, len(order) - parts + number))


@dataclass(frozen=True)
class Batches:
    """`batch_of` for the training loop: step -> micro-batches without any padding.

    A unit is a list of examples that stay together (one example, or a pack). A step's examples are
    laid end to end in rows of at most `micro_tokens` tokens (a longer unit gets its own row), each
    document attending to itself only.
    """

    examples: Examples
    units: Sequence[Sequence[int]]
    steps: Sequence[np.ndarray]
    micro_tokens: int

    def __call__(self, step: int) -> list[dict[str, Any]]:
        return self.collate(self.steps[step])

    def collate(self, units: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """The micro-batches of the given units, `total` included."""
        rows: list[list[int]] = []
        room = 0
        for unit in units:
            members = list(self.units[int(unit)])
            size = sum(len(self.examples[i][0]) for i in members)
            if not rows or size > room:
                rows.append([])
                room = max(self.micro_tokens, size)
            rows[-1].extend(members)
            room -= size
        return with_total(
            [collate_packed(self.examples, [row], self._size(row), pad_id=0) for row in rows]
        )

    def _size(self, row: Sequence[int]) -> int:
        return sum(len(self.examples[i][0]) for i in row)

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return sum(self._size([i for u in step for i in self.units[int(u)]]) for step in self.steps)


def singles(examples: Examples) -> list[list[int]]:
    """Units of one example each."""
    return [[i] for i in range(len(examples))]
