"""Putting token sequences of different lengths into rectangles: packed rows or padded rows.

Pure lists and tensors; what the sequences are and when they are used is decided elsewhere. An
example is `(ids, mask)`: token ids and, per token, whether predicting it carries loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from resources.training.objectives import IGNORE

Example = tuple[Sequence[int] | np.ndarray, Sequence[bool] | np.ndarray]
PADDING_DOCUMENT = -1


def collate_packed(
    examples: Sequence[Example], packs: Sequence[Sequence[int]], capacity: int, pad_id: int
) -> dict[str, Any]:
    """One row a pack, as wide as the fullest pack and never wider than `capacity`.

    `document_ids` numbers the documents of a row (padding is -1) and `position_ids` restart with
    each, so a model that honours them computes every document as if it stood alone. `labels` are
    the next tokens, -100 where there is none or it carries no loss; `weights` are 1 where it does.
    `tokens` counts the real tokens.
    """
    width = max(sum(len(examples[i][0]) for i in members) for members in packs)
    if width > capacity:
        raise ValueError(f"a pack holds {width} tokens; its capacity is {capacity}")
    shape = (len(packs), width)
    ids, labels = np.full(shape, pad_id, np.int64), np.full(shape, IGNORE, np.int64)
    positions, documents = np.zeros(shape, np.int64), np.full(shape, PADDING_DOCUMENT, np.int64)
    for row, members in enumerate(packs):
        start = 0
        for document, index in enumerate(members):
            tokens = np.asarray(examples[index][0])
            end = start + len(tokens)
            ids[row, start:end] = tokens
            labels[row, start : end - 1] = _labels(tokens, examples[index][1])
            positions[row, start:end] = np.arange(len(tokens))
            documents[row, start:end] = document
            start = end
    return {
        **_tensors(ids, labels),
        "position_ids": torch.from_numpy(positions),
        "document_ids": torch.from_numpy(documents),
        "tokens": int((documents != PADDING_DOCUMENT).sum()),
    }


def with_total(micro_batches: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The micro-batches of one step, each with `total`: the sum of weights over all of them.

    Raises ValueError when no token of the step carries loss.
    """
    total = sum(float(batch["weights"].sum()) for batch in micro_batches)
    if total <= 0:
        raise ValueError("no token of this step carries loss: check the examples' loss masks")
    return [{**batch, "total": total} for batch in micro_batches]


def _labels(tokens: np.ndarray, mask: Sequence[bool] | np.ndarray) -> np.ndarray:
    return np.where(np.asarray(mask, dtype=bool)[1:], tokens[1:], IGNORE)


def _tensors(ids: np.ndarray, labels: np.ndarray) -> dict[str, torch.Tensor]:
    shifted = torch.from_numpy(labels)
    return {
        "input_ids": torch.from_numpy(ids),
        "labels": shifted,
        "weights": (shifted != IGNORE).float(),
    }
