"""Ready conversations of a declared source as SFT samples: new ones, and none that is held out.

One row a conversation, its turns kept. Every row of the source is a sample, a dropped row with its
reason, or a rejected row that did not fit. Knows no template and no tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.benchmarks import apart
from resources.benchmarks.contamination import contaminated
from resources.benchmarks.overlap import Benchmarks
from warehouse.errors import RowsRejected
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.sources.account import Account

VERSION = "v1"
BATCH = 4096


def load(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The tables `sft_samples`, `dropped`, `rejected` and `sources` of one source, streamed.

    `recipe`: `name`, `source`, `shards` (each `{shard, pieces}`), `max_drop`, `holdout`. The share
    `holdout` of questions, by hash, has the split `held_out`. `inputs`: tables of problems that no
    sample may ask. Raises RowsRejected, before anything else is done, where too many rows do not
    fit.
    """
    from resources.sources.account import Account, SourceError

    account = Account(recipe["name"], recipe["source"]["path"])
    read = workdir / "conversations.arrow"
    _stage(read, account, recipe, execution.observe)
    try:
        account.judge(recipe["max_drop"])
    except SourceError as error:
        raise RowsRejected(str(error), account.table()) from error
    asked = apart.held_out(inputs, ["row_id", "question", "source"]) if inputs else None
    benchmarks = None if asked is None else Benchmarks(asked)
    dropped: list[pa.RecordBatch] = []
    metrics: dict[str, float] = {}

    def samples() -> Iterator[pa.RecordBatch]:
        seen: dict[bytes, bytes] = {}
        for table in _tables(read):
            kept, lost = _sorted_out(_identified(table, recipe), benchmarks, seen)
            dropped.extend(lost.to_batches())
            metrics["samples"] = metrics.get("samples", 0.0) + kept.num_rows
            yield from kept.to_batches()

    def lost() -> Iterator[pa.RecordBatch]:  # asked for when all samples are written
        metrics["dropped"] = float(sum(batch.num_rows for batch in dropped))
        metrics["rejected"] = float(account.dropped)
        yield from dropped

    return Output(
        tables={
            "sft_samples": samples(),
            "dropped": lost(),
            "rejected": account.table(),
            "sources": account.summary(),
        },
        metrics=metrics,
    )


def _stage(
    path: Path, account: Account, recipe: Mapping[str, Any], observed: Sequence[Any]
) -> None:
    """Read the source once, onto the disk: it is judged as a whole before any row is used."""
    import pyarrow as pa

    from resources.recipe.sections.data import Source
    from resources.sources.reading import KEPT, read
    from resources.sources.shards import of_entries

    source = Source.model_validate(recipe["source"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, KEPT[source.kind]) as writer:
        for shard in of_entries(recipe["shards"], iter(observed)):
            for batch in read(source, shard):
                account.add(batch)
                writer.write_batch(batch.kept)


def _tables(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as batches:
        for batch in batches:
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


def _identified(table: pa.Table, recipe: Mapping[str, Any]) -> pa.Table:
    """Conversations with the columns of samples; where a row stands is part of its identity."""
    import pyarrow as pa

    from resources.sources.apart import asked, held_out, text_hash
    from warehouse.rows import with_ids
    from warehouse.schemas import SCHEMAS

    rows = table.num_rows
    schema = SCHEMAS["sft_samples"]
    turns: list[list[dict[str, Any]]] = table["messages"].to_pylist()
    plain = [[{"role": t["role"], "content": t["content"]} for t in each] for each in turns]
    hashes = np.array([text_hash(asked(each)) for each in turns], np.int64)
    out = held_out(hashes, recipe["holdout"])
    nothing = pa.nulls(rows, pa.string())
    columns = {
        "domain": pa.repeat(recipe["name"], rows),
        "input": pa.array([each[:-1] for each in plain], schema.field("input").type),
        "output": [each[-1]["content"] for each in plain],
        "category": pa.repeat(recipe["name"], rows),
        "license": pa.repeat(recipe["source"]["license"], rows),
        "reasoning": nothing,
        "generator": pa.repeat("source", rows),
        "version": pa.repeat(VERSION, rows),
        "system_prompt": nothing,
        "tokens": pa.nulls(rows, pa.int64()),
        "trained": pa.array(
            [[t["train"] for t in each if t["role"] == "assistant"] for each in turns],
            pa.list_(pa.bool_()),
        ),
        "split": pa.array(np.where(out, "held_out", "train"), pa.string()),
        "file": table["file"],
        "line": table["line"],
    }
    content = ["output", "file"]
    return with_ids(pa.table(columns), recipe["asset_key"], content, None, "line")


def _sorted_out(
    table: pa.Table, benchmarks: Benchmarks | None, seen: dict[bytes, bytes]
) -> tuple[pa.Table, pa.Table]:
    """The samples to keep, and the others as rows of `dropped`. `seen` grows by the kept ones."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [table[name].to_pylist() for name in ("row_id", "input", "output")]
    whole = [
        [*turns, {"role": "assistant", "content": said}]
        for _, turns, said in zip(*columns, strict=True)
    ]
    found = {} if benchmarks is None else contaminated(whole, benchmarks)
    reasons: list[tuple[str, str, bytes] | None] = []
    for place, (row_id, messages, output) in enumerate(zip(*columns, strict=True)):
        if place in found:
            reasons.append(("contaminated", *found[place]))
            continue
        first = seen.setdefault(_key(messages, output), row_id)
        repeats = f"the same conversation as {first.hex()}"
        reasons.append(None if first == row_id else ("duplicate", repeats, first))
    fits = pa.array([each is None for each in reasons])
    lost = [each for each in reasons if each is not None]
    dropped = pa.table(
        {
            "row_id": table["row_id"].filter(pc.invert(fits)),
            "reason": pa.array([each[0] for each in lost], pa.string()),
            "evidence": pa.array([each[1] for each in lost], pa.string()),
            "matched_row_id": pa.array([each[2] for each in lost], pa.binary(16)),
        }
    )
    return table.filter(fits), dropped


def _key(messages: Sequence[Mapping[str, str]], output: str) -> bytes:
    """A hash of a whole conversation, without case and spacing."""
    from hashlib import blake2b

    from resources.tasks.held_out import text_key

    digest = blake2b(digest_size=16)
    for role, content in [*((m["role"], m["content"]) for m in messages), ("assistant", output)]:
        text = text_key(content).encode()
        digest.update(f"{role} {len(text)} ".encode() + text)
    return digest.digest()
