"""Calibration tokens: fixed-length sequences cut from the corpus, in shares that never meet.

Training the block library, scoring blocks and judging a model use disjoint documents. Knows the
corpus table's token lists; of models only how they embed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from warehouse.store import Artifact

# Every tenth document judges models, every tenth scores blocks, the rest train.
SHARES = {"train": tuple(range(8)), "score": (8,), "held_out": (9,), "all": tuple(range(10))}
HELD_OUT_ORDER = 0  # the seed of the order in which text that a mixture holds out is read
ACTIVATION_BYTES = 4_000_000_000  # of states between layers on disk, where an execution names none


@dataclass(frozen=True)
class Sequences:
    """Packed sequences, all arrays int64 `[N, T]`.

    `position_ids` restart with each document; `document_ids` differ between the documents of one
    sequence, so that none attends to another.
    """

    input_ids: np.ndarray
    position_ids: np.ndarray
    document_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        """Tokens in all sequences."""
        return int(self.input_ids.size)

    def select(self, rows: slice | np.ndarray) -> Sequences:
        """Some of the sequences."""
        return Sequences(self.input_ids[rows], self.position_ids[rows], self.document_ids[rows])

    def batches(self, size: int) -> Iterator[Sequences]:
        """In order, `size` sequences at a time."""
        for start in range(0, len(self), size):
            yield self.select(slice(start, start + size))

    def context(self, model: Any) -> tuple[Any, Any]:
        """(embedded inputs `[N, T, H]`, block context) on the device of a model or layer source."""
        return self.embedded(model), self.surroundings(model)

    def embedded(self, model: Any) -> Any:
        """The embedded inputs alone, `[N, T, H]`."""
        import torch

        ids = torch.from_numpy(self.input_ids).to(model.device)
        return model.embed(ids)

    def surroundings(self, model: Any) -> Any:
        """The block context alone: positions and documents."""
        import torch

        ids, positions, documents = (
            torch.from_numpy(array).to(model.device)
            for array in (self.input_ids, self.position_ids, self.document_ids)
        )
        return model.context(ids, position_ids=positions, document_ids=documents)


def mixed(corpus: Artifact) -> bool:
    """Whether the corpus is a mixture of declared sources, which holds text of its own out."""
    return bool(corpus.manifest["tables"].get("held_out", {}).get("rows", 0))


def judging(corpus: Artifact, recipe: Mapping[str, Any]) -> Sequences:
    """Sequences that judge models: windows of a mixture's held-out text, else the share for it.

    Held-out text comes in one order for all, so that what two stages or two models of one parent
    are given is the same text, or one the beginning of the other: figures compare.

    `recipe`: `tokens`, `sequence_length` and `seed`. Raises ValueError as `sequences` does.
    """
    apart = mixed(corpus)
    name, share = ("held_out", "all") if apart else ("corpus", "held_out")
    return sequences(
        corpus.table(name, columns=["text_ids"]),
        share,
        tokens=recipe["tokens"],
        sequence_length=recipe["sequence_length"],
        seed=HELD_OUT_ORDER if apart else recipe["seed"],
        windows=apart,
    )


def scoring(corpus: Artifact, recipe: Mapping[str, Any]) -> Sequences:
    """Sequences of the share that scores blocks: windows, where the corpus is a mixture.

    `recipe` and errors as of `judging`.
    """
    return sequences(
        corpus.table("corpus", columns=["text_ids"]),
        "score",
        tokens=recipe["tokens"],
        sequence_length=recipe["sequence_length"],
        seed=recipe["seed"],
        windows=mixed(corpus),
    )


def deciding(corpus: Artifact, recipe: Mapping[str, Any], tokens: int) -> Sequences:
    """`tokens` tokens of the share that scores blocks, behind those of `scoring`.

    What one text proposed does not look better than it is by the other; the two overlap where the
    share is too small for both.

    `recipe` and errors as of `judging`.
    """
    both = scoring(corpus, {**recipe, "tokens": recipe["tokens"] + tokens})
    return both.select(slice(-max(tokens // recipe["sequence_length"], 1), None))


def sequences(
    corpus: pa.Table,
    share: str,
    *,
    tokens: int,
    sequence_length: int,
    seed: int,
    windows: bool = False,
) -> Sequences:
    """Packs a share of the corpus, in an order drawn from `seed`, into sequences.

    A document that does not fit is cut and goes on in the next sequence as a new document; what
    does not fill a last sequence is left out. At most `tokens` tokens come back, fewer when the
    share is smaller.

    Args:
        corpus: column `text_ids` (list of int).
        share: one of `SHARES`.
        windows: draw pieces of at most a sequence's length, in place of whole documents: a few
            thousand tokens are then not the text of two long documents. Every token of the share
            is as likely to be drawn.

    Raises:
        ValueError: the share holds less than one sequence.
    """
    values, spans = _drawn(corpus, share, sequence_length if windows else None, seed)
    count = max(tokens // sequence_length, 1)
    capacity = count * sequence_length
    ids: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    filled = 0
    for number, (begin, end) in enumerate(spans):
        piece = values[begin:end][: capacity - filled]
        index = np.arange(filled, filled + len(piece))
        # Positions count from the document's start or, once cut, from its sequence's start.
        start = np.maximum(filled, index - index % sequence_length)
        ids.append(piece)
        positions.append(index - start)
        numbers.append(np.full(len(piece), number))
        filled += len(piece)
        if filled == capacity:
            break
    whole = filled // sequence_length
    if whole == 0:
        raise ValueError(
            f"corpus: the {share} share of its {corpus.num_rows} documents holds {filled} tokens, "
            f"less than one sequence of {sequence_length}; "
            "add documents or shorten the sequences"
        )
    shape = (whole, sequence_length)
    flat = [
        np.concatenate(parts)[: whole * sequence_length].astype(np.int64).reshape(shape)
        for parts in (ids, positions, numbers)
    ]
    return Sequences(*flat)


def _drawn(
    corpus: pa.Table, share: str, window: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """All tokens of the corpus, and spans `[N, 2]` (begin, end) in them in the order drawn: the
    share's documents, or windows of them."""
    column = corpus["text_ids"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    offsets = np.asarray(column.offsets)
    documents = np.flatnonzero(np.isin(np.arange(len(column)) % 10, SHARES[share]))
    spans = np.stack([offsets[documents], offsets[documents + 1]], axis=1)
    if window is not None:
        spans = _cut(spans, window)
    order = np.arange(len(spans))
    np.random.default_rng(seed).shuffle(order)
    return np.asarray(column.values), spans[order]


def _cut(spans: np.ndarray, length: int) -> np.ndarray:
    """Spans `[D, 2]` (begin, end) cut into windows of at most `length`, `[W, 2]`, in order."""
    counts = -(-(spans[:, 1] - spans[:, 0]) // length)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    begins = np.repeat(spans[:, 0], counts) + (np.arange(counts.sum()) - first) * length
    return np.stack([begins, np.minimum(begins + length, np.repeat(spans[:, 1], counts))], axis=1)
