"""Ready conversations of a declared source as SFT samples: new ones, and none that is held out.

One row a conversation, its turns kept, tools and calls in columns of their own where there are
some. Every row of the source is a sample, a dropped row with its
reason, or a rejected row that did not fit. Knows no template and no tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.sft_data.deduplicate import BEFORE, TOOLS, Repeats, whole
from resources.benchmarks import apart
from resources.benchmarks.compared import Benchmarks, Match
from resources.benchmarks.contamination import contaminated, hits
from resources.cleaning.duplicates import Duplicate
from resources.cleaning.filters import first_of_turns
from warehouse.files.spool import Spool
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.sources.account import Account

VERSION = "v1"
IN_TEMPLATE, AS_TEXT = "tools_in_template", "tools_as_text"  # conversations whose tools stand there


def load(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The tables `sft_samples`, `dropped`, `rejected` and `sources` of one source, streamed.

    `recipe`: `name`, `source`, `shards` (each `{shard, pieces}`), `max_drop`, `holdout`; with
    `deduplicate` and `decontaminate` near duplicates and neighbours of benchmarks are dropped too,
    and `duplicates` and `contamination` are further tables. The share
    `holdout` of questions, by hash, has the split `held_out`. `inputs`: tables of problems that no
    sample may ask, and data sets that come before this one. Raises RowsRejected, before anything
    else is done, where too many rows do not fit. Where conversations have tools a metric counts
    them: `tools_as_text` as the source writes them into the turns, else `tools_in_template`.
    """
    account, read, tools = _staged(workdir, recipe, execution)
    given = {name: each for name, each in inputs.items() if not name.startswith(BEFORE)}
    asked = apart.held_out(given, ["row_id", "question", "source"]) if given else None
    benchmarks = None if asked is None else Benchmarks(asked, recipe.get("decontaminate"))
    near = recipe.get("deduplicate", {}).get("near")
    rows = _Rows(workdir, recipe, benchmarks, Repeats(workdir, near, inputs), tools)
    return Output(
        tables={
            "sft_samples": rows.samples(read),
            "dropped": rows.all_dropped(account),
            "rejected": account.table(),
            "sources": account.summary(),
            **({"contamination": rows.contamination()} if "decontaminate" in recipe else {}),
            **({} if near is None else {"duplicates": rows.clusters()}),
        },
        metrics=rows.metrics,
    )


class _Rows:
    """The samples of one source on their way: each compared with benchmarks, then with each other.

    All samples are read before the other tables are asked for.
    """

    def __init__(
        self,
        workdir: Path,
        recipe: Mapping[str, Any],
        benchmarks: Benchmarks | None,
        repeats: Repeats,
        tools: Mapping[str, float],
    ) -> None:
        self._tools = IN_TEMPLATE in tools
        self._told = ["input", "output", *(TOOLS if self._tools else ())]
        self._recipe, self._benchmarks, self._repeats = recipe, benchmarks, repeats
        self._identified = Spool(workdir / "identified.arrow")
        self._dropped: list[pa.Table] = []
        self._matched: list[tuple[bytes, Match]] = []
        self._lost: dict[int, Duplicate] = {}
        self.metrics: dict[str, float] = dict(tools)

    def samples(self, read: Path) -> Iterator[pa.RecordBatch]:
        """Those to train on or to hold out."""
        with self._identified:
            for table in _tables(read):
                self._identified.add(self._fitting(_identified(table, self._recipe, self._tools)))
        self._lost.update(self._repeats.found())
        for table in self._new():
            self.metrics["samples"] = self.metrics.get("samples", 0.0) + table.num_rows
            yield from table.to_batches()

    def all_dropped(self, account: Account) -> Iterator[pa.RecordBatch]:
        """The others, each with its reason."""
        self.metrics["dropped"] = float(sum(table.num_rows for table in self._dropped))
        self.metrics["rejected"] = float(account.dropped)
        for table in self._dropped:
            yield from table.to_batches()

    def contamination(self) -> Iterator[pa.RecordBatch]:
        """What of a benchmark was found in which."""
        counts = Counter(match.reason for _, match in self._matched)
        self.metrics |= {f"dropped_{why}": float(n) for why, n in sorted(counts.items())}
        yield from hits(self._matched).to_batches()

    def clusters(self) -> Iterator[pa.RecordBatch]:
        """Which samples are near duplicates of which."""
        self.metrics["duplicates_uncompared"] = float(self._repeats.uncompared)
        yield from self._repeats.clusters(self._lost, self._recipe["asset_key"])

    def _fitting(self, table: pa.Table) -> pa.Table:
        """The samples that hold no question of a benchmark and pass the filters.

        They are the ones held against each other.
        """
        import pyarrow as pa

        ids = table["row_id"].to_pylist()
        rows = table.select(self._told).to_pylist()
        told = [whole(row) for row in rows]
        found = {} if self._benchmarks is None else contaminated(told, self._benchmarks)
        filters = self._recipe.get("filters", {})
        unfit = {
            place: why
            for place, row in enumerate(rows)
            if place not in found and (why := first_of_turns(_said(row), filters)) is not None
        }
        left = [place for place in range(len(ids)) if place not in found and place not in unfit]
        self._repeats.add([ids[place] for place in left], [told[place] for place in left])
        matched = [(ids[place], found[place]) for place in sorted(found)]
        self._matched.extend(matched)
        self._dropped.append(
            _dropped(
                [
                    *((own, each.reason, each.evidence, each.row_id) for own, each in matched),
                    *((ids[place], *why, None) for place, why in unfit.items()),
                ]
            )
        )
        return table.take(pa.array(left, pa.int64()))

    def _new(self) -> Iterator[pa.Table]:
        """The samples that repeat no other."""
        import pyarrow as pa

        lost, repeats, start = self._lost, self._repeats, 0
        for batch in self._identified.batches() if self._identified.rows else ():
            there = {
                place: lost[start + place] for place in range(len(batch)) if start + place in lost
            }
            start += len(batch)
            rows = [
                (repeats.id_of(o.place), "duplicate", repeats.evidence(o), repeats.id_of(o.kept))
                for o in there.values()
            ]
            self._dropped.append(_dropped(rows))
            fits = pa.array([place not in there for place in range(len(batch))], pa.bool_())
            yield pa.Table.from_batches([batch]).filter(fits)


def _said(row: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """The turns in which something is said: a filter judges words, and not a call without any."""
    turns = [*row["input"], {"role": "assistant", "content": row["output"]}]
    return [turn for turn in turns if turn["content"]]


def _staged(
    workdir: Path, recipe: Mapping[str, Any], execution: Execution
) -> tuple[Account, Path, dict[str, float]]:
    """Read the source once, onto the disk: it is judged as a whole before any row is used.

    The numbers of conversations with tools are told, none where there are none.
    """
    from resources.sources.account import Account

    account = Account(recipe["name"], recipe["source"]["path"])
    path = workdir / "conversations.arrow"
    tools = _stage(path, account, recipe, execution.observe)
    account.settle(recipe["max_drop"])
    return account, path, {name: float(count) for name, count in sorted(tools.items())}


def _stage(
    path: Path, account: Account, recipe: Mapping[str, Any], observed: Sequence[Any]
) -> Counter[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from resources.recipe.sections.data import Source
    from resources.sources.reading import KEPT, read
    from resources.sources.shards import of_entries

    source = Source.model_validate(recipe["source"])
    tools: Counter[str] = Counter()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, KEPT[source.kind]) as writer:
        for shard in of_entries(recipe["shards"], iter(observed)):
            for batch in read(source, shard):
                account.add(batch)
                writer.write_batch(batch.kept)
                beside = pc.or_(*(pc.is_valid(batch.kept.column(name)) for name in TOOLS))
                tools[IN_TEMPLATE] += pc.sum(beside).as_py() or 0
                tools[AS_TEXT] += pc.sum(batch.kept.column("tagged")).as_py() or 0
    return +tools


def _tables(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as batches:
        for batch in batches:
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


def _identified(table: pa.Table, recipe: Mapping[str, Any], tools: bool) -> pa.Table:
    """Conversations with the columns of samples; where a row stands is part of its identity.

    `tools`: whether any of the source's has tools or calls, which then are columns too.
    """
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
        **({name: table[name] for name in TOOLS} if tools else {}),
    }
    content = ["output", "file"]
    return with_ids(pa.table(columns), recipe["asset_key"], content, None, "line")


def _dropped(rows: Sequence[tuple[bytes, str, str, bytes | None]]) -> pa.Table:
    """Rows of `dropped`: id, reason, evidence, the row that it was found by if there is one."""
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
