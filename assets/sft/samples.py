"""The samples of a blend as training examples: looked up, rendered, encoded, split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.models.template import encode_examples
from resources.training.data import Examples, split_held_out
from resources.training.fit import held_out_count
from warehouse.store import Artifact

COLUMNS = ["row_id", "input", "output", "system_prompt"]


def blended(
    blend: Artifact, datasets: Mapping[str, Artifact]
) -> tuple[list[list[dict[str, str]]], list[str]]:
    """`(messages, outputs)` of the blend's rows, in the blend's order.

    Raises ValueError when a sample is in none of the datasets.
    """
    references = blend.table("blends", columns=["sample_id", "position"]).sort_by("position")
    wanted = pc.unique(references.column("sample_id"))
    found = pa.concat_tables(
        table.filter(pc.is_in(table.column("row_id"), wanted))
        for table in (data.table("sft_samples", columns=COLUMNS) for data in datasets.values())
    )
    place = pc.index_in(references.column("sample_id"), found.column("row_id"))
    if place.null_count:
        raise ValueError(
            f"{blend.key}: {place.null_count} of {len(place)} samples are in none of "
            f"{', '.join(data.key for data in datasets.values())}; rebuild the blend"
        )
    rows = found.take(place)
    prompts = [
        with_system(messages, system)
        for messages, system in zip(
            rows.column("input").to_pylist(), rows.column("system_prompt").to_pylist(), strict=True
        )
    ]
    return prompts, rows.column("output").to_pylist()


def with_system(messages: list[dict[str, str]], system: str | None) -> list[dict[str, str]]:
    """The messages, led by the sample's system prompt unless they bring their own."""
    if not system or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system}, *messages]


def question_of(messages: list[dict[str, str]]) -> str:
    """What a sample asks: everything but the system turn, so that both modes count as one."""
    return "\n".join(m["content"] for m in messages if m["role"] != "system")


def encode(
    tokenizer: Any, prompts: list[list[dict[str, str]]], outputs: list[str], length: int, seed: int
) -> tuple[Examples, Examples, int]:
    """`(training, held out, too long)`: examples with loss on the output tokens alone.

    Questions, not samples, are held out, so that no other answer to a held-out question is trained
    on. Samples longer than `length` are left out and counted: cut short, they would teach the model
    not to finish. Raises ValueError when nothing is left to train on.
    """
    encoded = encode_examples(tokenizer, prompts, outputs)
    kept = [index for index, (ids, _) in enumerate(encoded) if len(ids) <= length]
    questions = [question_of(prompts[index]) for index in kept]
    distinct = sorted(set(questions))
    if len(distinct) < 2:
        raise ValueError(
            f"{len(kept)} of {len(encoded)} samples fit in {length} tokens, about "
            f"{len(distinct)} questions; training and measuring need at least two "
            "(raise sequence_length, or blend more samples)"
        )
    _, chosen = split_held_out(len(distinct), held_out_count(len(distinct)), seed)
    unseen = {distinct[int(index)] for index in chosen}
    out = np.array([question in unseen for question in questions])
    examples = Examples.from_lists([encoded[index] for index in kept])
    return (
        examples.take(np.flatnonzero(~out)),
        examples.take(np.flatnonzero(out)),
        len(encoded) - len(kept),
    )
