"""The rows of one declared source of problems: typed, identified, every row accounted for.

Says which of them only measure; what a domain's training set takes of them is decided in `make.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.files.spool import Spool
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.recipe.sections.data import Source
    from resources.sources.account import Account
    from resources.sources.shards import Shard


def read_questions(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Execution
) -> Output:
    """The tables `questions`, `rejected` and `sources` of one source.

    `recipe`: `name`, `source` (the declaration), `max_drop` and `shards` (each `{shard, pieces}`,
    whose local files are the observed ones; null: those that the hub lists). Raises RowsRejected
    where too many rows are no problems, SourceError where there are no files.
    """
    from resources.recipe.sections.data import Source
    from resources.sources.account import Account

    source = Source.model_validate(recipe["source"])
    account = Account(recipe["name"], source.path)
    with Spool(workdir / "questions.arrow") as spool:
        for rows in _rows(source, _shards(source, recipe, workdir, execution), account):
            spool.add(_identified(rows, source, recipe))
    account.settle(recipe["max_drop"])
    return Output(
        tables={
            "questions": spool.batches(),
            "rejected": account.table(),
            "sources": account.summary(),
        },
        metrics={"kept": float(account.kept), "rejected": float(account.dropped)},
    )


def _shards(
    source: Source, recipe: Mapping[str, Any], workdir: Path, execution: Execution
) -> Iterator[Shard]:
    from resources.sources.shards import of_entries, shards

    if recipe["shards"] is not None:
        return of_entries(recipe["shards"], iter(execution.observe))
    memory = workdir if execution.home is None else Path(execution.home)
    return iter(shards(source, workdir, memory / "hub"))


def _rows(source: Source, found: Iterator[Shard], account: Account) -> Iterator[pa.RecordBatch]:
    """The rows that fit, those of an `id` that came before left out."""
    from resources.sources.problems import without_repeated
    from resources.sources.reading import read

    seen: dict[str, str] = {}
    for shard in found:
        for batch in read(source, shard):
            if "id" in source.fields:
                batch = without_repeated(batch, source.fields["id"], seen)
            account.add(batch)
            yield batch.kept


def _identified(rows: pa.RecordBatch, source: Source, recipe: Mapping[str, Any]) -> pa.Table:
    """Problems as rows of `questions`; where a row stands is part of its identity."""
    import pyarrow as pa

    from resources.tasks.held_out import is_held_out_row
    from warehouse.rows import with_ids

    count = rows.num_rows
    found = rows.column("problem")
    fields = dict(zip(found.type.names, found.flatten(), strict=True))
    asked = fields["question"].to_pylist()
    apart = [is_held_out_row({"domain": source.domain, "question": each}) for each in asked]
    table = pa.table(
        {
            "domain": pa.repeat(source.domain, count),
            "source": pa.repeat(recipe["name"], count),
            **fields,
            "license": pa.repeat(source.license, count),
            "split": pa.array(["held_out" if each else "train" for each in apart], pa.string()),
            "file": rows.column("file"),
            "line": rows.column("line"),
        }
    )
    content = ["question", "expected_answer", "tests", "file"]
    return with_ids(table, recipe["asset_key"], content, None, "line")
