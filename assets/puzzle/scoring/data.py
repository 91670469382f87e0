"""The tokens that scores are measured on: packed sequences, long contexts, problems to answer.

Knows the corpus table and batches; of models only on which device their tokens are wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from assets.puzzle.calibration import SHARES, Sequences, sequences
from assets.puzzle.scoring.metrics import LONG, SCORE, TASK, Tokens, set_of

SHARE = "score"
PADDING = -1  # document number of what is no document
BATCH_TOKENS = 512  # of what is scored, and kept, as one; a longer sequence is a batch by itself


@dataclass(frozen=True)
class Batch:
    """Sequences `[N, T]` that go through the parent together; `answers` marks answer tokens."""

    sequences: Sequences
    answers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of everything that was read."""
        total = hashlib.sha256(str(self.sequences.input_ids.shape).encode())
        parts = (self.sequences.input_ids, self.sequences.position_ids, self.sequences.document_ids)
        for part in parts if self.answers is None else (*parts, self.answers):
            total.update(np.ascontiguousarray(part).tobytes())
        return total.hexdigest()

    def tokens(self, row: int, device: torch.device) -> Tokens:
        """One sequence `[1, T]`, for the metrics."""
        rows = slice(row, row + 1)
        ids, documents = (
            torch.from_numpy(part[rows]).to(device)
            for part in (self.sequences.input_ids, self.sequences.document_ids)
        )
        answers = self.answers
        marked = None if answers is None else torch.from_numpy(answers[rows]).to(device)
        return Tokens(ids, documents, marked)


def score_sets(
    corpus: pa.Table, recipe: Mapping[str, Any], *, windows: bool
) -> dict[str, list[Batch]]:
    """The batches of every set that the recipe's metrics need.

    Recipe: the scores section and `seed`. `windows` as of `calibration.sequences`.

    Raises:
        ValueError: the corpus holds too little, or marks no answers though `task` is asked for.
    """
    wanted = {set_of(metric) for metric in recipe["metrics"]}
    seed = recipe["seed"]
    sets: dict[str, list[Batch]] = {}
    if SCORE in wanted:
        sets[SCORE] = list(packed(corpus, recipe, seed, windows))
    if LONG in wanted:
        sets[LONG] = [
            Batch(one_context(batch.sequences))
            for batch in packed(corpus, recipe["long_context"], seed, windows)
        ]
    if TASK in wanted:
        sets[TASK] = list(problems(corpus, recipe["task_problems"], seed))
    return sets


def leading(batches: Sequence[Batch], tokens: int) -> int:
    """How many of the first sequences hold at most `tokens` tokens, at least one."""
    lengths = [batch.sequences.input_ids.shape[1] for batch in batches for _ in range(len(batch))]
    return max(int(np.searchsorted(np.cumsum(lengths), tokens, side="right")), 1)


def packed(
    corpus: pa.Table, section: Mapping[str, Any], seed: int, windows: bool
) -> Iterator[Batch]:
    """Batches of a section's `tokens`, packed into sequences of its `sequence_length`."""
    tokens, length = section["tokens"], section["sequence_length"]
    data = sequences(
        corpus, SHARE, tokens=tokens, sequence_length=length, seed=seed, windows=windows
    )
    for part in data.batches(max(BATCH_TOKENS // length, 1)):
        yield Batch(part)


def one_context(data: Sequences) -> Sequences:
    """The same tokens, each sequence one document: every token sees all before it."""
    positions = np.broadcast_to(np.arange(data.input_ids.shape[1]), data.input_ids.shape)
    return replace(
        data, position_ids=positions.copy(), document_ids=np.zeros_like(data.document_ids)
    )


def problems(corpus: pa.Table, count: int, seed: int) -> Iterator[Batch]:
    """`count` documents with an answer (fewer if there are no more), a row each, padded.

    An answer is the tokens that `loss_mask` marks; documents of like length share a batch.

    Raises:
        ValueError: the corpus has no `loss_mask`, or no document of the share an answer.
    """
    if "loss_mask" not in corpus.column_names:
        raise ValueError(
            "corpus: the metric task needs the column loss_mask, which marks the answer tokens; "
            f"it has {corpus.column_names}: add it, or leave task out of scores.metrics"
        )
    documents = np.flatnonzero(np.isin(np.arange(corpus.num_rows) % 10, SHARES[SHARE]))
    np.random.default_rng(seed).shuffle(documents)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for document in documents:
        ids = np.asarray(corpus["text_ids"][int(document)].as_py(), np.int64)
        answer = np.asarray(corpus["loss_mask"][int(document)].as_py(), bool)
        if answer[1:].any():  # nothing comes before the first token, so it cannot be asked for
            found.append((ids, answer))
        if len(found) == count:
            break
    if not found:
        raise ValueError(
            f"corpus: none of the {len(documents)} documents of the {SHARE} share has an answer "
            "marked in loss_mask; leave task out of scores.metrics"
        )
    found.sort(key=lambda problem: len(problem[0]))
    start = 0
    while start < len(found):
        end = start + 1
        while end < len(found) and (end + 1 - start) * len(found[end][0]) <= BATCH_TOKENS:
            end += 1
        yield _padded(found[start:end])
        start = end


def _padded(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
    shape = (len(rows), max(len(ids) for ids, _ in rows))
    ids, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    documents, answers = np.full(shape, PADDING, np.int64), np.zeros(shape, bool)
    for row, (text, answer) in enumerate(rows):
        ids[row, : len(text)], answers[row, : len(text)] = text, answer
        positions[row, : len(text)], documents[row, : len(text)] = np.arange(len(text)), row
    return Batch(Sequences(ids, positions, documents), answers)
