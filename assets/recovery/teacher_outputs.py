"""A teacher's outputs on the corpus, computed once: the top-k log-probabilities of every token.

Only tokens that carry loss are kept. Table `teacher_outputs` holds spans of documents; in training
they lie in two flat arrays, in files where they are large. Knows one teacher and one corpus;
nothing of students.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from assets.recovery import corpus
from assets.recovery.objective import IDS, LOGS, LiveTeacher
from resources.training.data.examples import Batches, Examples, singles
from resources.training.distilling import CHUNK, top_k
from resources.training.fit import Attach
from resources.training.loop.measuring import Batch, to_device
from warehouse.files.filesystem import replacing
from warehouse.rows import parents_of, row_ids
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

SHARD = 1 << 22  # numbers that are computed before they are written: what a kill can lose
SPAN = 4096  # numbers of one row at most, so that a Parquet part of the table stays below 300 MB


def teacher_outputs(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The `top_k` likeliest tokens of `inputs["teacher"]` at `temperature`, on `inputs["corpus"]`.

    Table `teacher_outputs`, a row a span of a document: `document_id`, `position` (of its first
    token among all that carry loss, in corpus order), `tokens`, `token_ids` and `log_probabilities`
    (k a token, likeliest first; of the whole vocabulary), `rest` (mean probability outside them).
    Log-probabilities are float32: float16 would save a quarter of the bytes, but errs by up to
    0.4 %, and what is left for the rest bin is a difference from 1.
    """
    corpus.check_chat(inputs["corpus"], inputs["teacher"])
    teacher = LiveTeacher(inputs["teacher"].path(), execution, dtype=recipe.get("dtype"))
    documents = corpus.documents(inputs["corpus"], workdir, execution)
    pieces = documents.cut(int(recipe["sequence_length"]))
    starts = kept_starts(pieces)
    k = min(int(recipe["top_k"]), int(teacher.model.config.vocab_size))
    micro_tokens = execution.micro_batch * int(recipe["sequence_length"])
    batches = Batches(pieces, singles(pieces), [], micro_tokens)
    folder = workdir / "outputs"
    folder.mkdir(parents=True, exist_ok=True)
    shards = _shards(starts, max(1, SHARD // k))
    files = [folder / f"{number:06d}.npz" for number in range(len(shards))]
    outside = 0.0
    for number, (file, members) in enumerate(zip(files, shards, strict=True), start=1):
        if not file.is_file():
            ids, logs = _compute(teacher, batches, members, k, float(recipe["temperature"]))
            with replacing(file) as aside:
                np.savez(aside, ids=ids, logs=logs)
        outside += float(_rest(_load(file)[1]).sum())
        execution.progress(f"shard {number}/{len(shards)}", number / len(shards))
    # Where each document's tokens begin among those kept, by way of where it begins in all.
    ends = [np.concatenate([[0], np.cumsum(each.lengths)]) for each in (documents, pieces)]
    bounds = starts[np.searchsorted(ends[1], ends[0])]
    return Output(
        tables={
            "teacher_outputs": _rows(files, inputs["corpus"], bounds, k, str(recipe["asset_key"]))
        },
        metrics={
            "tokens": float(starts[-1]),
            "rest": outside / max(float(starts[-1]), 1.0),
            "top_k": float(k),
            "vocabulary": float(teacher.model.config.vocab_size),
        },
    )


def kept_starts(pieces: Examples) -> np.ndarray:
    """Where each piece's tokens that carry loss begin among those of all, and how many there are.

    A piece's first token is never predicted.
    """
    counts = (int(mask[1:].sum()) for _, mask in (pieces[i] for i in range(len(pieces))))
    return np.concatenate([[0], np.cumsum(np.fromiter(counts, np.int64, len(pieces)))])


@dataclass(frozen=True)
class Outputs:
    """Cached outputs for training: `ids` and `logs` `[N,k]` of all tokens that carry loss.

    Piece i of the corpus has the rows from `starts[i]` to `starts[i + 1]`.
    """

    ids: np.ndarray
    logs: np.ndarray
    starts: np.ndarray
    vocabulary: int

    def of(self, pieces: np.ndarray) -> Attach:
        """Adds to the micro-batches of examples, which are the given pieces, their outputs."""

        def attach(examples: Sequence[int], batches: list[Batch]) -> list[Batch]:
            rows = np.concatenate(
                [np.arange(self.starts[i], self.starts[i + 1]) for i in pieces[list(examples)]]
            )
            made, begun = [], 0
            for batch in batches:
                # Micro-batches hold their examples end to end, in order.
                places = batch["weights"].flatten().nonzero().flatten()
                mine = rows[begun : begun + len(places)]
                begun += len(mine)
                full = {}
                for name, values in ((IDS, self.ids[mine]), (LOGS, self.logs[mine])):
                    found = torch.from_numpy(values)
                    flat = found.new_zeros(batch["weights"].numel(), found.shape[-1])
                    flat[places] = found
                    full[name] = flat.view(*batch["weights"].shape, -1)
                made.append({**batch, **full})
            return made

        return attach


def read(
    artifact: Artifact,
    made_from: Artifact,
    pieces: Examples,
    workdir: Path,
    execution: Execution,
) -> Outputs:
    """The outputs for these pieces of the corpus, in memory up to `examples_bytes`, else in files.

    Raises ValueError when they are of another corpus, or of one that was cut otherwise.
    """
    starts = kept_starts(pieces)
    total, k = int(starts[-1]), int(artifact.metrics["top_k"])
    version = artifact.manifest["inputs"]["corpus"]["data_version"]
    if version != made_from.data_version or total != int(artifact.metrics["tokens"]):
        raise ValueError(
            f"{artifact.key} holds outputs for {artifact.metrics['tokens']:.0f} tokens of "
            f"{made_from.key}@{version[:12]}, but training reads {total} tokens of "
            f"{made_from.key}@{made_from.data_version[:12]}: build {artifact.key} again, with the "
            "same sequence_length"
        )
    shape = (total, k)
    if total * k * 8 <= execution.examples_bytes:
        ids, logs = np.empty(shape, np.int32), np.empty(shape, np.float32)
    else:
        ids = np.memmap(workdir / "teacher_ids", np.int32, "w+", shape=shape)
        logs = np.memmap(workdir / "teacher_logs", np.float32, "w+", shape=shape)
    columns = ["position", "tokens", "token_ids", "log_probabilities"]
    for batch in artifact.batches("teacher_outputs", columns=columns, batch_size=256):
        flat = [batch.column(name).flatten().to_numpy().reshape(-1, k) for name in columns[2:]]
        begun = 0
        for position, tokens in zip(
            *(batch.column(c).to_numpy() for c in columns[:2]), strict=True
        ):
            ids[position : position + tokens] = flat[0][begun : begun + tokens]
            logs[position : position + tokens] = flat[1][begun : begun + tokens]
            begun += tokens
    return Outputs(ids, logs, starts, int(artifact.metrics["vocabulary"]))


def _shards(starts: np.ndarray, most: int) -> list[np.ndarray]:
    """The pieces that carry loss, in order, in groups of about `most` tokens."""
    usable = np.flatnonzero(np.diff(starts))
    group = starts[usable] // most
    return np.split(usable, np.flatnonzero(np.diff(group)) + 1) if len(usable) else []


def _compute(
    teacher: LiveTeacher, batches: Batches, members: np.ndarray, k: int, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for batch in batches.collate(members):
        (state,), _ = teacher.told(to_device(batch, teacher.device), every=False)
        kept = state.flatten(0, 1)[batch["weights"].flatten().nonzero().flatten()]
        for chunk in kept.split(CHUNK):
            ids, logs = top_k(teacher.logits(chunk), k, temperature)
            found.append((ids.int().cpu(), logs.cpu()))
    whole = [torch.cat(each).numpy() for each in zip(*found, strict=True)]
    return whole[0], whole[1]


def _load(file: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(file) as saved:
        return saved["ids"], saved["logs"]


def _rest(logs: np.ndarray) -> np.ndarray:
    """The probability outside the top k: `[n,k]` -> `[n]`."""
    return np.maximum(1 - np.exp(logs, dtype=np.float64).sum(-1), 0)


def _rows(
    files: Sequence[Path], made_from: Artifact, bounds: np.ndarray, k: int, asset_key: str
) -> Iterator[pa.RecordBatch]:
    """The table, a shard at a time; document i has the tokens from `bounds[i]` on."""
    ids = corpus.batches(made_from, ["row_id"])
    names = pa.concat_arrays([batch.column(0) for batch in ids])
    span, begun = max(1, SPAN // k), 0
    for file in files:
        token_ids, logs = _load(file)
        end = begun + len(logs)
        # Spans begin with the shard, with a document, and `span` tokens after one that does.
        edges = np.unique([begun, *bounds[(bounds > begun) & (bounds < end)], end])
        first = np.concatenate([np.arange(a, b, span) for a, b in pairwise(edges)])
        tokens = np.diff([*first, end])
        document = np.searchsorted(bounds, first, side="right") - 1
        parents = [names[int(place)].as_py() for place in document]
        offsets = pa.array((np.concatenate([first, [end]]) - begun) * k, pa.int32())
        rest = np.add.reduceat(_rest(logs), first - begun) / tokens
        columns = {
            "row_id": row_ids(
                asset_key, [str(position) for position in first], [[each] for each in parents]
            ),
            "document_id": pa.array(parents, pa.binary(16)),
            "position": pa.array(first, pa.int64()),
            "tokens": pa.array(tokens, pa.int64()),
            "token_ids": pa.ListArray.from_arrays(offsets, pa.array(token_ids.ravel())),
            "log_probabilities": pa.ListArray.from_arrays(offsets, pa.array(logs.ravel())),
            "rest": pa.array(rest, pa.float64()),
            "parents": parents_of([[each] for each in parents], [[made_from.key]] * len(parents)),
        }
        yield pa.record_batch(columns)
        begun = end
