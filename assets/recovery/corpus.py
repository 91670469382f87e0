"""The corpus as training examples: read, cut to length, split into training and held-out parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from resources.training import mapped
from resources.training.data import Examples, split_held_out
from resources.training.fit import held_out_count
from warehouse.store import Artifact

if TYPE_CHECKING:
    from resources.execution import Execution

COLUMNS = ["text_ids", "loss_mask"]


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
    """The pieces that carry loss, split by the recipe's seed.

    Documents longer than `sequence_length` are cut into pieces that each stand as an example.
    Raises ValueError when they are fewer than two.
    """
    cut = documents(corpus, workdir, execution).cut(int(recipe["sequence_length"]))
    usable = cut.with_loss()
    if len(usable) < 2:
        raise ValueError(
            f"{corpus.key} has {corpus.rows} documents, {len(usable)} pieces of them with tokens "
            "that carry loss; training and measuring need at least two"
        )
    training, held_out = split_held_out(len(usable), held_out_count(len(usable)), recipe["seed"])
    return Split(cut, usable[training], usable[held_out])


def documents(corpus: Artifact, workdir: Path, execution: Execution) -> Examples:
    """The documents in corpus order.

    Read in batches, and kept in files of the work folder where they exceed the `examples_bytes` of
    the execution settings.
    """

    def parts() -> Iterator[Examples]:
        for batch in corpus.batches("corpus", columns=COLUMNS, batch_size=4096):
            yield Examples.from_table(pa.Table.from_batches([batch]))

    most = execution.examples_bytes
    return mapped.gather(parts(), workdir / "examples", most)
