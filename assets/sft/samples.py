"""The samples of a blend as training examples: looked up, rendered, encoded, split.

A sample is encoded once however often the blend repeats it. Texts are read in batches; what is held
of a sample is its id and a hash of its question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from resources.models.loading import load_tokenizer
from resources.models.template import encode_examples
from resources.training import mapped
from resources.training.data import Examples, split_held_out
from resources.training.fit import held_out_count
from warehouse.store import Artifact

BATCH = 4096  # samples read and encoded at once
ID = "S16"  # a row id, or a question's hash, as numpy sorts and finds it


@dataclass(frozen=True)
class Split:
    """The samples of a blend in its order: trained on, held out, and how many were too long."""

    training: Examples
    held_out: Examples
    too_long: int


def read(
    model: Artifact,
    blend: Artifact,
    datasets: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    workdir: Path,
    execution: Mapping[str, Any],
) -> Split:
    """The blend's rows as examples with loss on the output tokens alone.

    Questions, not samples, are held out, so that no other answer to a held-out question is trained
    on. Samples of more than `sequence_length` tokens are left out and counted: cut short, they
    would teach the model not to finish. Tokens are kept in files of the work folder where they
    exceed the `examples_bytes` of the execution settings.

    Raises ValueError when a sample is in none of the datasets, or nothing is left to train on.
    """
    wanted = references(blend)
    distinct = np.unique(wanted)
    ids, questions = index(datasets, distinct)
    place = np.searchsorted(ids, wanted, sorter=(order := np.argsort(ids)))
    found = order[np.minimum(place, len(ids) - 1)] if len(ids) else np.zeros(len(wanted), np.int64)
    missing = len(wanted) if not len(ids) else int((ids[found] != wanted).sum())
    if missing:
        raise ValueError(
            f"{blend.key}: {missing} of {len(wanted)} samples are in none of "
            f"{', '.join(data.key for data in datasets.values())}; rebuild the blend"
        )
    examples = mapped.gather(
        encoded(load_tokenizer(model.path()), datasets, distinct),
        workdir / "examples",
        int(execution.get("examples_bytes") or mapped.BYTES),
    )
    length = int(recipe["sequence_length"])
    kept = found[examples.lengths[found] <= length]
    asked = np.unique(questions[kept])
    if len(asked) < 2:
        raise ValueError(
            f"{len(kept)} of {len(wanted)} samples fit in {length} tokens, about {len(asked)} "
            "questions; training and measuring need at least two (raise sequence_length, or blend "
            "more samples)"
        )
    _, chosen = split_held_out(len(asked), held_out_count(len(asked)), int(recipe["seed"]))
    out = np.isin(questions[kept], asked[chosen])
    return Split(examples.take(kept[~out]), examples.take(kept[out]), len(wanted) - len(kept))


def references(blend: Artifact) -> np.ndarray:
    """The ids of the blend's samples, in its order."""
    table = blend.table("blends", columns=["sample_id", "position"])
    return _ids(table.sort_by("position").column("sample_id"))


def index(datasets: Mapping[str, Artifact], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row ids of the wanted samples and hashes of their questions, in the order of the datasets."""
    ids: list[np.ndarray] = [np.empty(0, ID)]
    hashes: list[bytes] = []
    for batch in _wanted(datasets, ["row_id", "input"], wanted):
        ids.append(_ids(batch.column("row_id")))
        hashes += [
            blake2b(question_of(messages).encode(), digest_size=16).digest()
            for messages in batch.column("input").to_pylist()
        ]
    return np.concatenate(ids), np.array(hashes, dtype=ID)


def encoded(
    tokenizer: Any, datasets: Mapping[str, Artifact], wanted: np.ndarray
) -> Iterator[Examples]:
    """The wanted samples as examples, batch by batch, in the order of the datasets."""
    for batch in _wanted(datasets, ["row_id", "input", "output", "system_prompt"], wanted):
        prompts = [
            with_system(messages, system)
            for messages, system in zip(
                batch.column("input").to_pylist(),
                batch.column("system_prompt").to_pylist(),
                strict=True,
            )
        ]
        outputs = batch.column("output").to_pylist()
        yield Examples.from_lists(encode_examples(tokenizer, prompts, outputs))


def with_system(messages: list[dict[str, str]], system: str | None) -> list[dict[str, str]]:
    """The messages, led by the sample's system prompt unless they bring their own."""
    if not system or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system}, *messages]


def question_of(messages: Sequence[Mapping[str, str]]) -> str:
    """What a sample asks: everything but the system turn, so that both modes count as one."""
    return "\n".join(m["content"] for m in messages if m["role"] != "system")


def _wanted(
    datasets: Mapping[str, Artifact], columns: list[str], wanted: np.ndarray
) -> Iterator[pa.RecordBatch]:
    """Batches of the rows whose ids are among the sorted `wanted`."""
    for artifact in datasets.values():
        for batch in artifact.batches("sft_samples", columns=columns, batch_size=BATCH):
            ids = _ids(batch.column("row_id"))
            place = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
            rows = np.flatnonzero(wanted[place] == ids)
            if len(rows):
                yield batch.take(pa.array(rows))


def _ids(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of 16-byte ids as one array; every id has all 16, so that comparisons are exact."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.frombuffer(whole.buffers()[1], ID)[whole.offset : whole.offset + len(whole)]
