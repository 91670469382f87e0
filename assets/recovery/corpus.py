"""The corpus as training examples: read, cut to length, split into training and held-out parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resources.training.data import Examples, split_held_out
from resources.training.fit import held_out_count
from warehouse.store import Artifact


def read(corpus: Artifact, recipe: Mapping[str, Any]) -> tuple[Examples, Examples]:
    """`(training, held out)`; documents longer than `sequence_length` are cut into pieces.

    Raises ValueError when fewer than two documents carry loss.
    """
    table = corpus.table("corpus", columns=["text_ids", "loss_mask"])
    examples = Examples.from_table(table).cut(int(recipe["sequence_length"]))
    usable = examples.with_loss()
    if len(usable) < 2:
        raise ValueError(
            f"{corpus.key} has {table.num_rows} documents, {len(usable)} of them with tokens that "
            "carry loss; training and measuring need at least two"
        )
    training, held_out = split_held_out(len(usable), held_out_count(len(usable)), recipe["seed"])
    return examples.take(usable[training]), examples.take(usable[held_out])
