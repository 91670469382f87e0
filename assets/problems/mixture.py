"""The corpus as a mixture of declared sources: which documents, in what shares, for what use.

Documents come in the order of hashes, the same few first however many there are: a new shard
replaces some and moves none. Those that hold what a declared benchmark asks are left out, each a
row of `dropped`. Memory is counts and those rows, not text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.benchmarks import apart
from resources.benchmarks.compared import CONTAMINATED, Benchmarks, Match
from resources.benchmarks.contamination import contaminated, hits
from resources.sources.apart import held_out
from warehouse.artifact import parts
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution

# Bytes that no tokenizer reads as fewer tokens, on average: so much text is enough for all.
BYTES_PER_TOKEN = 6
BINS = 1 << 16  # of the hash order, in which bytes are counted
BATCH = 1024
ASKED = ("row_id", "question", "source")
COMPARED = ["row_id", "text", "messages", "bytes", "text_hash"]


def make_mixture(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The table `texts`: of each source as much text, by weight, as `tokens` tokens may need.

    `inputs`: the shards of each source, and benchmarks. `recipe`: `weights` and `max_drop` by
    source, `tokens`, `holdout`. A document whose text falls into the held-out share has the split
    `held_out`, all copies of it too. One that holds what a benchmark asks makes room for the next
    and is a row of `dropped`, a table that is left out where nothing is: text without a match is
    the same corpus, whatever was compared with it. Raises SourceError where a source has no rows,
    or too many rejected ones.
    """
    weights: Mapping[str, float] = recipe["weights"]
    shards = {name: parts(inputs, name) for name in weights}
    for name, found in shards.items():
        judge(name, found, recipe["max_drop"][name])
    benchmarks = _benchmarks(inputs, weights, recipe.get("decontaminate"))
    total = sum(weights.values())
    taken: dict[str, _Taken] = {}
    metrics: dict[str, float] = {}
    for name, weight in weights.items():
        wanted = recipe["tokens"] * BYTES_PER_TOKEN * weight / total
        taken[name] = _reached(shards[name], wanted, recipe["holdout"], benchmarks)
        metrics[f"{name}_bytes"] = taken[name].trained
    dropped = _dropped(taken)
    if benchmarks is not None:
        metrics["documents"] = float(sum(each.documents for each in taken.values()))
        counts = Counter({CONTAMINATED: 0})
        counts.update(dropped["reason"].to_pylist())
        metrics |= {f"dropped_{why}": float(count) for why, count in sorted(counts.items())}

    def texts() -> Iterator[pa.RecordBatch]:
        for name, found in shards.items():
            for artifact in found:
                yield from _rows(artifact, taken[name], recipe)

    tables: dict[str, Any] = {"texts": texts()}
    if "decontaminate" in recipe:
        matched = (each.contaminated.items() for each in taken.values())
        tables["contamination"] = hits(pair for pairs in matched for pair in pairs)
    return Output(
        tables=tables | ({"dropped": dropped} if dropped.num_rows else {}), metrics=metrics
    )


def _benchmarks(
    inputs: Mapping[str, Artifact],
    sources: Collection[str],
    decontaminate: Mapping[str, float] | None,
) -> Benchmarks | None:
    """What the inputs that are no source ask; None where the recipe declares nothing."""
    given = {n: each for n, each in inputs.items() if n.partition("@")[0] not in sources}
    declared = apart.declared(given, ASKED)
    return None if declared is None else Benchmarks(declared, decontaminate)


def judge(name: str, shards: Sequence[Artifact], max_drop: float) -> None:
    """Raise SourceError where more than `max_drop` of a source's rows do not fit, or all of them.

    All its shards count together.
    """
    from resources.sources.account import Account

    account = Account(name)
    for shard in shards:
        found = shard.table("sources", ["kept"])["kept"]
        account.kept += sum(found.to_pylist())
        lost = shard.table("rejected", ["file", "line", "field", "value", "reason"])
        for batch in lost.to_batches():
            account.reject(batch)
    account.judge(max_drop)


@dataclass(frozen=True)
class _Taken:
    """How far in hash order a source is read, the bytes to train on and all documents up to there,
    and those of them that are contaminated, by row id."""

    limit: int
    trained: float
    documents: int
    contaminated: Mapping[bytes, Match]


def _reached(
    shards: Sequence[Artifact], wanted: float, share: float, benchmarks: Benchmarks | None
) -> _Taken:
    """What of a source makes `wanted` bytes to train on, or all of it where there are fewer.

    It goes on to the first document that is held out: of little text there is some of it, too.
    """
    sizes, counts, apart = _counted(shards, share)
    found: dict[bytes, Match] = {}
    compared, limit = -1, _limit(sizes, wanted, apart)
    while benchmarks is not None and compared < limit:
        for row_id, place, size, match in _contaminated(
            shards, range(compared + 1, limit + 1), share, benchmarks
        ):
            found[row_id] = match
            sizes[place] -= size
            apart[place] -= not size  # what is not to train on
        compared, limit = limit, _limit(sizes, wanted, apart)
    return _Taken(limit, float(sizes[: limit + 1].sum()), int(counts[: limit + 1].sum()), found)


def _limit(sizes: np.ndarray, wanted: float, apart: np.ndarray) -> int:
    """The bin in which `wanted` bytes are reached and a document is held out, if any is; the last
    bin where there are fewer bytes."""
    reached = min(int(np.searchsorted(np.cumsum(sizes), wanted)), BINS - 1)
    return max(reached, int(np.argmax(apart > 0)))


def _counted(shards: Sequence[Artifact], share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By bin of the hash order, bytes to train on, documents, and those of them held out."""
    sizes, counts, apart = np.zeros(BINS), np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    for shard in shards:
        for batch in shard.batches("texts", ["row_id", "bytes", "text_hash"], 1 << 16):
            train = ~held_out(batch.column("text_hash").to_numpy(), share)
            bins = _bins(batch.column("row_id"))
            weights = batch.column("bytes").to_numpy() * train
            sizes += np.bincount(bins, weights, minlength=BINS)
            counts += np.bincount(bins, minlength=BINS)
            apart += np.bincount(bins[~train], minlength=BINS)
    return sizes, counts, apart


def _contaminated(
    shards: Sequence[Artifact], bins: range, share: float, benchmarks: Benchmarks
) -> Iterator[tuple[bytes, int, float, Match]]:
    """Contaminated documents of these bins: row id, bin, bytes to train on, and the match."""
    import pyarrow as pa

    for shard in shards:
        for batch in shard.batches("texts", COMPARED, BATCH):
            places = _bins(batch.column("row_id"))
            rows = np.flatnonzero((places >= bins.start) & (places < bins.stop))
            if not len(rows):
                continue
            chosen = batch.take(pa.array(rows))
            train = ~held_out(chosen.column("text_hash").to_numpy(), share)
            for row, match in sorted(_matches(chosen, benchmarks).items()):
                size = chosen.column("bytes")[row].as_py() * float(train[row])
                yield chosen.column("row_id")[row].as_py(), int(places[rows[row]]), size, match


def _matches(batch: pa.RecordBatch, benchmarks: Benchmarks) -> dict[int, Match]:
    """By row, what a benchmark asks."""
    columns = (batch.column("text").to_pylist(), batch.column("messages").to_pylist())
    rows = [text if turns is None else turns for text, turns in zip(*columns, strict=True)]
    return contaminated(rows, benchmarks)


def _dropped(taken: Mapping[str, _Taken]) -> pa.Table:
    """The contaminated documents, under the ids that they have in their source."""
    import pyarrow as pa

    rows = [
        (row_id, match, name)
        for name, each in taken.items()
        for row_id, match in each.contaminated.items()
    ]
    return pa.table(
        {
            "row_id": pa.array([row_id for row_id, _, _ in rows], pa.binary(16)),
            "reason": pa.array([match.reason for _, match, _ in rows], pa.string()),
            "evidence": pa.array([match.evidence for _, match, _ in rows], pa.string()),
            "matched_row_id": pa.array([match.row_id for _, match, _ in rows], pa.binary(16)),
            "source": pa.array([name for _, _, name in rows], pa.string()),
        }
    )


def _bins(ids: pa.Array) -> np.ndarray:
    """The first 16 bits of each row id."""
    raw = np.frombuffer(ids.buffers()[1], np.uint8)[ids.offset * 16 : (ids.offset + len(ids)) * 16]
    first = raw.reshape(-1, 16)
    return first[:, 0].astype(np.int64) << 8 | first[:, 1]


def _rows(artifact: Artifact, taken: _Taken, recipe: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
    """The rows of a shard up to the limit that are not contaminated, as rows of the corpus."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from warehouse.rows import with_derived_ids

    contaminated = pa.array(list(taken.contaminated), pa.binary(16))
    for batch in artifact.batches("texts", None, BATCH):
        fits = _bins(batch.column("row_id")) <= taken.limit
        if len(contaminated):
            fits &= ~pc.is_in(batch.column("row_id"), contaminated).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(fits)
        if not len(rows):
            continue
        table = pa.Table.from_batches([batch.take(pa.array(rows))])
        ids = table["row_id"].combine_chunks()
        ids = pa.concat_arrays(ids.chunks) if isinstance(ids, pa.ChunkedArray) else ids
        out = held_out(table["text_hash"].to_numpy(), recipe["holdout"])
        split = pa.array(np.where(out, "held_out", "train"), pa.string())
        table = table.set_column(table.schema.get_field_index("split"), "split", split)
        table = with_derived_ids(table, recipe["asset_key"], ids, artifact.key)
        yield from table.to_batches()
