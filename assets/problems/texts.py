"""One shard of a declared source as rows of text: read, identified, every row accounted for.

Knows readers and rows; which of the rows a corpus takes is decided in `mixture.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.sources.account import Batch

TOOLS = ("tools", "calls")  # what a conversation has beside its turns
NO_PLACE = "a corpus has turns alone; say `tools: text` in the source"


def make_texts(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The tables `texts`, `rejected` and `sources` of a shard, streamed.

    `recipe`: `name` and `source` (the declaration), `shard` and `pieces` (see `shards.described`),
    whose local files are the observed ones. Conversations with tools are rejected unless the source
    has them as text. Nothing is judged here: a small shard may hold one bad row of a good source.
    """
    from resources.recipe.sections.data import Source
    from resources.sources.account import Account
    from resources.sources.reading import read
    from resources.sources.shards import described

    source = Source.model_validate(recipe["source"])
    shard = described(recipe["shard"], recipe["pieces"], execution.observe)
    account, metrics = Account(recipe["name"]), dict[str, float]()

    def texts() -> Iterator[pa.RecordBatch]:
        for batch in map(_of_turns_alone, read(source, shard)):
            account.add(batch)
            yield from identified(batch.kept, recipe, source.license).to_batches()

    def rejected() -> Iterator[pa.RecordBatch]:  # asked for when all texts are written
        yield from account.table().to_batches()

    def sources() -> Iterator[pa.RecordBatch]:
        metrics.update(kept=float(account.kept), dropped=float(account.dropped))
        found = account.summary()
        yield from found.append_column("shard", [[recipe["shard"]]]).to_batches()

    return Output(
        tables={"texts": texts(), "rejected": rejected(), "sources": sources()}, metrics=metrics
    )


def _of_turns_alone(batch: Batch) -> Batch:
    """The batch with conversations that have tools or calls beside their turns rejected."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from resources.sources.account import Batch, Reject, rejected_batch, shown

    beside = {name: batch.kept.column(name) for name in TOOLS if name in batch.kept.schema.names}
    there = [pc.is_valid(column) for column in beside.values()]
    if not there or not pc.any(pc.or_(*there)).as_py():
        return batch
    lost = batch.kept.filter(pc.or_(*there))
    rejects = []
    for row in lost.to_pylist():
        name = next(name for name in TOOLS if row[name] is not None)
        rejects.append(Reject(row["line"], name, shown(row[name]), NO_PLACE))
    more = rejected_batch(lost.column("file")[0].as_py(), rejects)
    both = pa.Table.from_batches([batch.rejected, more]).combine_chunks().to_batches()[0]
    return Batch(batch.kept.filter(pc.invert(pc.or_(*there))), both)


def identified(batch: pa.RecordBatch, recipe: Mapping[str, Any], license_name: str) -> pa.Table:
    """Kept rows as rows of `texts`; their place in the source is part of their identity."""
    import pyarrow as pa

    from resources.sources.apart import asked, text_hash
    from warehouse.rows import with_ids
    from warehouse.schemas import SCHEMAS

    rows, turns = batch.num_rows, SCHEMAS["texts"].field("messages").type
    if "text" in batch.schema.names:
        texts, messages = batch.column("text"), pa.nulls(rows, turns)
        whole = texts.to_pylist()
        hashes = map(text_hash, whole)
    else:
        texts, messages = pa.nulls(rows, pa.string()), batch.column("messages")
        given = messages.to_pylist()
        whole = ["\n".join(turn["content"] for turn in each) for each in given]
        hashes = map(text_hash, map(asked, given))
    table = pa.table(
        {
            "text": texts,
            "messages": messages,
            "source": pa.repeat(recipe["name"], rows),
            "file": batch.column("file"),
            "line": batch.column("line"),
            "bytes": pa.array([len(text.encode()) for text in whole], pa.int64()),
            "text_hash": pa.array(list(hashes), pa.int64()),
            "license": pa.repeat(license_name, rows),
        }
    )
    return with_ids(
        table, f"{recipe['asset_key']}@{recipe['shard']}", ["text_hash", "file"], None, "line"
    )
