"""The samples of a blend as training examples: looked up, rendered, encoded, split.

A sample is encoded once however often the blend repeats it. Texts are read in batches; what is held
of a sample is its id and a hash of its question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.sft import ready
from resources.chat.chat import Chat
from resources.chat.encoder import Encoded
from resources.chat.errors import ChatError
from resources.chat.pieces import Piece
from resources.chat.pieces import encode as encode_pieces
from resources.training.data import mapped
from resources.training.data.examples import Examples, split_held_out
from resources.training.fit import HELD_OUT_MOST, held_out_count
from resources.verifiers.reasoning import TAGS, retagged
from warehouse.files.filesystem import replacing
from warehouse.store import Artifact

if TYPE_CHECKING:
    from resources.execution import Execution

BATCH = 4096  # samples read and encoded at once
ID = "S16"  # a row id, or a question's hash, as numpy sorts and finds it


@dataclass(frozen=True)
class Split:
    """The samples of a blend in its order: trained on, held out, and how many were left out.

    `apart` is what each source held out itself; `held_out` has it too.
    """

    training: Examples
    held_out: Examples
    too_long: int
    refused: int
    apart: dict[str, Examples]


def read(
    model: Artifact,
    blend: Artifact,
    datasets: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    workdir: Path,
    execution: Execution,
) -> Split:
    """The blend's rows as examples with loss on what the assistant says alone.

    Questions, not samples, are held out, so that no other answer to a held-out question is trained
    on; of a source, those that it keeps apart itself, where there are any. Samples of more than
    `sequence_length` tokens are left out and counted: cut short, they would teach the model not to
    finish. So are conversations that the template refuses. Tokens are kept in files of the work
    folder where they exceed the `examples_bytes` of the execution settings.

    Raises ValueError when a sample is in none of the datasets, or nothing is left to train on.
    """
    wanted = references(blend)
    distinct = np.unique(wanted)
    length, counted = int(recipe["sequence_length"]), workdir / "examples_of_rows.npy"
    apart = _apart(model, datasets, length)
    ids, questions, apart_already = index(datasets, distinct, apart)
    found, missing = _places(ids, wanted)
    if missing:
        raise ValueError(
            f"{blend.key}: {missing} of {len(wanted)} samples are in none of "
            f"{', '.join(data.key for data in datasets.values())}; rebuild the blend"
        )
    examples = mapped.gather(
        encoded(model.path(), datasets, distinct, length, counted),
        workdir / "examples",
        execution.examples_bytes,
    )
    counts = np.load(counted)
    every, rows = _of_rows(found, counts)
    fits = examples.lengths[every] <= length
    kept, rows = every[fits], rows[fits]
    out = _drawn(questions[rows], apart_already[rows], int(recipe["seed"]))
    measured = [examples[int(each)] for each in kept[out]]
    measured += [each[i] for each in apart.values() for i in range(len(each))]
    if out.all() or not measured:
        raise ValueError(
            f"{len(kept)} of {len(every)} samples fit in {length} tokens, {int(out.sum())} are "
            "held out; training and measuring need at least two questions (raise sequence_length, "
            "or blend more samples)"
        )
    return Split(
        training=examples.take(kept[~out]),
        held_out=Examples.from_lists(measured),
        too_long=len(every) - len(kept),
        refused=int((counts[found] == 0).sum()),
        apart=apart,
    )


def _apart(model: Artifact, datasets: Mapping[str, Artifact], length: int) -> dict[str, Examples]:
    """What the sources hold out themselves, by source; of few questions that may be none."""
    sources = {name: each for name, each in datasets.items() if ready.is_ready(each)}
    chat = Chat.load(model.path()) if sources else None
    found = {
        name: ready.held_out(chat, each, length, HELD_OUT_MOST)
        for name, each in sources.items()
        if chat is not None
    }
    return {name: each for name, each in found.items() if len(each)}


def _places(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, int]:
    """Where each wanted id stands among the ids, and how many stand nowhere."""
    if not len(ids):
        return np.zeros(len(wanted), np.int64), len(wanted)
    order = np.argsort(ids)
    found = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return found, int((ids[found] != wanted).sum())


def _of_rows(rows: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The examples of rows in their order, `counts` of each row there is, and their rows."""
    starts = np.cumsum(counts) - counts
    owners = np.repeat(rows, counts[rows])
    first = np.repeat(np.cumsum(counts[rows]) - counts[rows], counts[rows])
    return np.repeat(starts[rows], counts[rows]) + np.arange(len(owners)) - first, owners


def _drawn(questions: np.ndarray, apart: np.ndarray, seed: int) -> np.ndarray:
    """Which examples are held out: those of some questions, not `apart` already."""
    asked = np.unique(questions[~apart])
    if len(asked) < 2:
        return np.zeros(len(questions), bool)
    _, chosen = split_held_out(len(asked), held_out_count(len(asked)), seed)
    return np.isin(questions, asked[chosen]) & ~apart


def references(blend: Artifact) -> np.ndarray:
    """The ids of the blend's samples, in its order."""
    table = blend.table("blends", columns=["sample_id", "position"])
    return _ids(table.sort_by("position").column("sample_id"))


def index(
    datasets: Mapping[str, Artifact], wanted: np.ndarray, apart_already: Collection[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row ids of the wanted samples, hashes of their questions, and whether their dataset is one of
    those that hold questions out already; in the order of the datasets.
    """
    names = {dataset.key: name for name, dataset in datasets.items()}
    ids: list[np.ndarray] = [np.empty(0, ID)]
    hashes: list[bytes] = []
    apart: list[bool] = []
    for dataset, batch in _wanted(datasets, ["row_id", "input"], wanted):
        ids.append(_ids(batch.column("row_id")))
        hashes += [
            blake2b(question_of(messages).encode(), digest_size=16).digest()
            for messages in batch.column("input").to_pylist()
        ]
        apart += [names[dataset.key] in apart_already] * batch.num_rows
    return np.concatenate(ids), np.array(hashes, dtype=ID), np.array(apart, bool)


def encoded(
    model: Path,
    datasets: Mapping[str, Artifact],
    wanted: np.ndarray,
    length: int,
    counted: Path,
) -> Iterator[Examples]:
    """The wanted samples as examples, batch by batch, in the order of the datasets.

    The file `counted` tells afterwards how many examples each sample gave, as int64 `[samples]`.
    """
    chat = Chat.load(model)
    counts: list[int] = []
    for dataset, batch in _wanted(datasets, ["input", "output", "reasoning"], wanted):
        rows = batch.to_pylist()
        if ready.is_ready(dataset):
            made = ready.encode(chat, rows, length, dataset.manifest["recipe"]["over_long"])
        else:
            made = of_answers(chat, rows)
        counts += [len(each) for each in made]
        yield Examples.from_lists([each for several in made for each in several])
    with replacing(counted) as aside:
        np.save(aside, np.array(counts, np.int64))


def of_answers(chat: Chat, rows: Sequence[Mapping[str, Any]]) -> list[list[Encoded]]:
    """The examples of answered questions: as the model is asked in that mode, loss on the output.

    Earlier turns are as somebody wrote them, and carry none. The output thinks between the tags of
    text that models share, and the example between the model's own. A row that the chat cannot
    render gives no example.
    """
    pieces = []
    for row in rows:
        earlier = [{**turn, "train": False} for turn in row["input"]]
        answer = {"role": "assistant", "content": retagged(row["output"], TAGS, chat.toggle.tags)}
        pieces.append(Piece([*earlier, answer], thinking=row["reasoning"]))
    return [[] if isinstance(made, ChatError) else made for made in encode_pieces(chat, pieces)]


def question_of(messages: Sequence[Mapping[str, str]]) -> str:
    """What a sample asks: everything but the system turn, so that both modes count as one."""
    return "\n".join(m["content"] for m in messages if m["role"] != "system")


def _wanted(
    datasets: Mapping[str, Artifact], columns: list[str], wanted: np.ndarray
) -> Iterator[tuple[Artifact, pa.RecordBatch]]:
    """Batches of the rows whose ids are among the sorted `wanted`, with their dataset.

    With the output come all columns that examples are made of.
    """
    for dataset in datasets.values():
        more = ready.columns(dataset) if "output" in columns and ready.is_ready(dataset) else []
        names = list(dict.fromkeys(["row_id", *columns, *more]))
        for batch in dataset.batches("sft_samples", columns=names, batch_size=BATCH):
            ids = _ids(batch.column("row_id"))
            place = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
            rows = np.flatnonzero(wanted[place] == ids)
            if len(rows):
                yield dataset, batch.take(pa.array(rows))


def _ids(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of 16-byte ids as one array; every id has all 16, so that comparisons are exact."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.frombuffer(whole.buffers()[1], ID)[whole.offset : whole.offset + len(whole)]
