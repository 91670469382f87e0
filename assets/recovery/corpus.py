"""The corpus as training examples: read, cut to length, split into training and held-out parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from resources.chat.matching import fits
from resources.training.data import mapped
from resources.training.data.examples import Examples, split_held_out
from resources.training.fit import HELD_OUT_MOST, held_out_count
from warehouse.store import Artifact

if TYPE_CHECKING:
    from resources.execution import Execution

COLUMNS = ["text_ids", "loss_mask"]
HELD_OUT = "held_out"  # the table of a mixture's documents that nothing is trained on


@dataclass(frozen=True)
class Split:
    """The corpus in pieces, and which of them are trained on and held out, both in corpus order."""

    pieces: Examples
    training: np.ndarray
    held_out: np.ndarray

    @property
    def examples(self) -> tuple[Examples, Examples]:
        """`(training, held out)`."""
        return self.pieces.take(self.training), self.pieces.take(self.held_out)


def read(
    corpus: Artifact,
    recipe: Mapping[str, Any],
    workdir: Path,
    execution: Execution,
) -> Split:
    """The pieces that carry loss: held out are those of a mixture's held-out documents, else some.

    Documents longer than `sequence_length` are cut into pieces that each stand as an example.
    Raises ValueError when they are fewer than two.
    """
    whole, length = documents(corpus, workdir, execution), int(recipe["sequence_length"])
    cut, apart = whole.cut(length), _rows(corpus, HELD_OUT)
    usable = cut.with_loss()
    if apart:
        # What is cut: a document that fits is one piece, an empty one none.
        pieces = -(-whole.lengths // length) if whole.lengths.max() > length else whole.lengths >= 0
        first = int(pieces[: len(whole) - apart].sum())
        training, out = usable[usable < first], usable[usable >= first]
        if len(training) and len(out):
            most = min(len(out), HELD_OUT_MOST)
            return Split(cut, training, out[split_held_out(len(out), most, recipe["seed"])[1]])
    if len(usable) < 2 or apart:
        raise ValueError(
            f"{corpus.key} has {len(whole)} documents, {len(usable)} pieces of them with tokens "
            "that carry loss; training and measuring need at least two"
        )
    training, held_out = split_held_out(len(usable), held_out_count(len(usable)), recipe["seed"])
    return Split(cut, usable[training], usable[held_out])


def check_chat(corpus: Artifact, model: Artifact) -> None:
    """Raise ChatError where the corpus was encoded for another chat than the model's."""
    made_for = corpus.manifest["observations"].get("chat")
    fits(made_for, model.path(), corpus.label, model.label)


def documents(corpus: Artifact, workdir: Path, execution: Execution) -> Examples:
    """The documents in corpus order, a mixture's held-out ones behind the others.

    Read in batches, and kept in files of the work folder where they exceed the `examples_bytes` of
    the execution settings.
    """

    def parts() -> Iterator[Examples]:
        for batch in batches(corpus, COLUMNS):
            yield Examples.from_table(pa.Table.from_batches([batch]))

    most = execution.examples_bytes
    return mapped.gather(parts(), workdir / "examples", most)


def batches(corpus: Artifact, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of the corpus, in the order of `documents`."""
    for table in ("corpus", HELD_OUT):
        if _rows(corpus, table):
            yield from corpus.batches(table, columns=columns, batch_size=4096)


def _rows(corpus: Artifact, table: str) -> int:
    return int(corpus.manifest["tables"].get(table, {}).get("rows", 0))
