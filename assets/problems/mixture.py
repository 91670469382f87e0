"""The corpus as a mixture of declared sources: which documents, in what shares, for what use.

Documents come in the order of hashes, the same few first however many there are: a new shard
replaces some and moves none. Memory is counts, not text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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


def make_mixture(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The table `texts`: of each source as much text, by weight, as `tokens` tokens may need.

    `inputs`: the shards of each source. `recipe`: `weights` and `max_drop` by source, `tokens`,
    `holdout`. A document whose text falls into the held-out share has the split `held_out`, all
    copies of it too. Raises SourceError where a source has no rows, or too many rejected ones.
    """
    weights: Mapping[str, float] = recipe["weights"]
    shards = {name: parts(inputs, name) for name in weights}
    for name, found in shards.items():
        judge(name, found, recipe["max_drop"][name])
    total = sum(weights.values())
    limits: dict[str, int] = {}
    metrics: dict[str, float] = {}
    for name, weight in weights.items():
        wanted = recipe["tokens"] * BYTES_PER_TOKEN * weight / total
        limits[name], held = _limit(shards[name], wanted, recipe["holdout"])
        metrics[f"{name}_bytes"] = held

    def texts() -> Iterator[pa.RecordBatch]:
        for name, found in shards.items():
            for artifact in found:
                yield from _taken(artifact, limits[name], recipe)

    return Output(tables={"texts": texts()}, metrics=metrics)


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


def _limit(shards: Sequence[Artifact], wanted: float, share: float) -> tuple[int, float]:
    """How far in hash order a source is read for `wanted` bytes to train on, and those bytes."""
    sizes = np.zeros(BINS)
    for shard in shards:
        for batch in shard.batches("texts", ["row_id", "bytes", "text_hash"], 1 << 16):
            train = ~held_out(batch.column("text_hash").to_numpy(), share)
            sizes += np.bincount(
                _bins(batch.column("row_id")),
                batch.column("bytes").to_numpy() * train,
                minlength=BINS,
            )
    reached = np.cumsum(sizes)
    limit = int(np.searchsorted(reached, wanted))
    return limit, float(reached[min(limit, BINS - 1)])


def _bins(ids: pa.Array) -> np.ndarray:
    """The first 16 bits of each row id."""
    raw = np.frombuffer(ids.buffers()[1], np.uint8)[ids.offset * 16 : (ids.offset + len(ids)) * 16]
    first = raw.reshape(-1, 16)
    return first[:, 0].astype(np.int64) << 8 | first[:, 1]


def _taken(artifact: Artifact, limit: int, recipe: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
    """The rows of a shard up to the limit, as rows of the corpus."""
    import pyarrow as pa

    from warehouse.rows import with_derived_ids

    for batch in artifact.batches("texts", None, BATCH):
        rows = np.flatnonzero(_bins(batch.column("row_id")) <= limit)
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
