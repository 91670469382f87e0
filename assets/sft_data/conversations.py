"""Ready conversations of a declared source as SFT samples: new ones, and none that is held out.

One row a conversation, its turns kept. Every row of the source is a sample, a dropped row with its
reason, or a rejected row that did not fit. Knows no template and no tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.sft_data.deduplicate import BEFORE, Repeats
from resources.benchmarks import apart
from resources.benchmarks.contamination import contaminated
from resources.benchmarks.overlap import Benchmarks
from resources.cleaning.duplicates import Duplicate
from warehouse.errors import RowsRejected
from warehouse.files.spool import Spool
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.sources.account import Account

VERSION = "v1"


def load(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The tables `sft_samples`, `dropped`, `rejected` and `sources` of one source, streamed.

    `recipe`: `name`, `source`, `shards` (each `{shard, pieces}`), `max_drop`, `holdout`; with
    `deduplicate` near duplicates are dropped too, and `duplicates` is one more table. The share
    `holdout` of questions, by hash, has the split `held_out`. `inputs`: tables of problems that no
    sample may ask, and data sets that come before this one. Raises RowsRejected, before anything
    else is done, where too many rows do not fit.
    """
    account, read = _staged(workdir, recipe, execution)
    given = {name: each for name, each in inputs.items() if not name.startswith(BEFORE)}
    asked = apart.held_out(given, ["row_id", "question", "source"]) if given else None
    benchmarks = None if asked is None else Benchmarks(asked)
    near = recipe.get("deduplicate", {}).get("near")
    repeats = Repeats(workdir, near, inputs)
    dropped: list[pa.Table] = []
    lost: dict[int, Duplicate] = {}
    metrics: dict[str, float] = {}

    def samples() -> Iterator[pa.RecordBatch]:
        with Spool(workdir / "identified.arrow") as identified:
            for table in _tables(read):
                kept, found = _without_contaminated(_identified(table, recipe), benchmarks, repeats)
                dropped.append(found)
                identified.add(kept)
        lost.update(repeats.found())
        for table in _new(identified, lost, repeats, dropped):
            metrics["samples"] = metrics.get("samples", 0.0) + table.num_rows
            yield from table.to_batches()

    def all_dropped() -> Iterator[pa.RecordBatch]:  # asked for when all samples are written
        metrics["dropped"] = float(sum(table.num_rows for table in dropped))
        metrics["rejected"] = float(account.dropped)
        for table in dropped:
            yield from table.to_batches()

    def clusters() -> Iterator[pa.RecordBatch]:
        metrics["duplicates_uncompared"] = float(repeats.uncompared)
        yield from repeats.clusters(lost, recipe["asset_key"]).to_batches()

    return Output(
        tables={
            "sft_samples": samples(),
            "dropped": all_dropped(),
            "rejected": account.table(),
            "sources": account.summary(),
            **({} if near is None else {"duplicates": clusters()}),
        },
        metrics=metrics,
    )


def _staged(workdir: Path, recipe: Mapping[str, Any], execution: Execution) -> tuple[Account, Path]:
    """Read the source once, onto the disk: it is judged as a whole before any row is used."""
    from resources.sources.account import Account, SourceError

    account = Account(recipe["name"], recipe["source"]["path"])
    path = workdir / "conversations.arrow"
    _stage(path, account, recipe, execution.observe)
    try:
        account.judge(recipe["max_drop"])
    except SourceError as error:
        raise RowsRejected(str(error), account.table()) from error
    return account, path


def _stage(
    path: Path, account: Account, recipe: Mapping[str, Any], observed: Sequence[Any]
) -> None:
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


def _without_contaminated(
    table: pa.Table, benchmarks: Benchmarks | None, repeats: Repeats
) -> tuple[pa.Table, pa.Table]:
    """The samples that hold no question of a benchmark, and the others as rows of `dropped`.

    Those that are left are added to `repeats`.
    """
    import pyarrow as pa

    ids, turns, said = (table[name].to_pylist() for name in ("row_id", "input", "output"))
    whole = [
        [*before, {"role": "assistant", "content": last}]
        for before, last in zip(turns, said, strict=True)
    ]
    found = {} if benchmarks is None else contaminated(whole, benchmarks)
    left = [place for place in range(len(ids)) if place not in found]
    repeats.add([ids[place] for place in left], [whole[place] for place in left])
    rows = [(ids[place], "contaminated", *found[place]) for place in sorted(found)]
    return table.take(pa.array(left, pa.int64())), _dropped(rows)


def _new(
    identified: Spool, lost: Mapping[int, Duplicate], repeats: Repeats, dropped: list[pa.Table]
) -> Iterator[pa.Table]:
    """The samples that repeat no other; the others are added to `dropped`."""
    import pyarrow as pa

    start = 0
    for batch in identified.batches() if identified.rows else ():
        there = {place: lost[start + place] for place in range(len(batch)) if start + place in lost}
        start += len(batch)
        rows = [
            (repeats.id_of(one.place), "duplicate", repeats.evidence(one), repeats.id_of(one.kept))
            for one in there.values()
        ]
        dropped.append(_dropped(rows))
        fits = pa.array([place not in there for place in range(len(batch))], pa.bool_())
        yield pa.Table.from_batches([batch]).filter(fits)


def _dropped(rows: Sequence[tuple[bytes, str, str, bytes]]) -> pa.Table:
    """Rows of `dropped`: id, reason, evidence, the row that it was found by."""
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) or [()] * 4
    kinds = {
        "row_id": pa.binary(16),
        "reason": pa.string(),
        "evidence": pa.string(),
        "matched_row_id": pa.binary(16),
    }
    pairs = zip(kinds.items(), columns, strict=True)
    return pa.table({name: pa.array(values, kind) for (name, kind), values in pairs})
