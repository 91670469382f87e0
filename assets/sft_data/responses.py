"""Recorded answers of a declared source as problems and generations, to be judged like our own.

Every row of the source is a generation or a rejected row. Judges nothing and drops nothing.
"""

from __future__ import annotations

from collections import Counter
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

RECORDED = "recorded"  # the version of a model of which only the answers are at hand


def read_responses(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Execution
) -> Output:
    """The tables `problems`, `generations`, `rejected` and `sources` of one source.

    `recipe`: `name`, `source`, `shards` (each `{shard, pieces}`), `max_drop`. A problem
    stands once, however often it was answered; of those read, memory holds the ids alone. Raises
    RowsRejected where too many rows do not fit.
    """
    from resources.recipe.sections.data import Source
    from resources.sources.account import Account

    source = Source.model_validate(recipe["source"])
    account = Account(recipe["name"], source.path)
    answered: Counter[bytes] = Counter()
    problems, generations = Spool(workdir / "problems.arrow"), Spool(workdir / "generations.arrow")
    with problems, generations:
        for rows in _rows(source, recipe, execution, account):
            asked, made = _apart(rows, source, recipe, answered)
            problems.add(asked)
            generations.add(made)
    account.settle(recipe["max_drop"])
    return Output(
        tables={
            "problems": problems.batches(),
            "generations": generations.batches(),
            "rejected": account.table(),
            "sources": account.summary(),
        },
        metrics={
            "problems": float(len(answered)),
            "generations": float(account.kept),
            "rejected": float(account.dropped),
        },
    )


def _rows(
    source: Source, recipe: Mapping[str, Any], execution: Execution, account: Account
) -> Iterator[pa.RecordBatch]:
    from resources.sources.reading import read
    from resources.sources.shards import of_entries

    for shard in of_entries(recipe["shards"], iter(execution.observe)):
        for batch in read(source, shard):
            account.add(batch)
            if batch.kept.num_rows:
                yield batch.kept


def _apart(
    rows: pa.RecordBatch, source: Source, recipe: Mapping[str, Any], answered: Counter[bytes]
) -> tuple[pa.Table, pa.Table]:
    """The problems that were not asked before, and the generations; `answered` counts answers."""
    import pyarrow as pa

    from warehouse.rows import parents_of, with_ids

    count, key = rows.num_rows, recipe["asset_key"]
    found = rows.column("response")
    fields = dict(zip(found.type.names, found.flatten(), strict=True))
    response, model, reasoning = (fields.pop(name) for name in ("response", "model", "reasoning"))
    del fields["id"]
    problems = pa.table(
        {
            **fields,
            "domain": pa.repeat(source.domain, count),
            "kind": pa.repeat("loaded", count),
            "source": pa.repeat(recipe["name"], count),
            "license": pa.repeat(source.license, count),
            "split": pa.repeat("train", count),
            "prompt_messages": pa.nulls(count, pa.string()),
            "composition": fields["question"],
        }
    )
    problems = with_ids(problems, key, ["question", "expected_answer", "tests", "metadata"])
    ids = problems["row_id"].to_pylist()
    first, numbers = [], []
    for place, row_id in enumerate(ids):
        if not answered[row_id]:
            first.append(place)
        numbers.append(answered[row_id])
        answered[row_id] += 1
    made = pa.table(
        {
            "problem_id": pa.array(ids, pa.binary(16)),
            "role": pa.repeat("assistant", count),
            "model": model.fill_null(recipe["name"]),
            "model_version": pa.repeat(RECORDED, count),
            "reasoning": reasoning,
            "sample_index": pa.array(numbers, pa.int64()),
            "temperature": pa.nulls(count, pa.float64()),
            "top_p": pa.nulls(count, pa.float64()),
            "response": response,
            "prompt_tokens": pa.nulls(count, pa.int64()),
            "completion_tokens": pa.nulls(count, pa.int64()),
            "finish_reason": pa.repeat("stop", count),
            "domain": problems["domain"],
            "file": rows.column("file"),
            "line": rows.column("line"),
        }
    )
    parents = parents_of([[one] for one in ids], [[key]] * count)
    content = ["reasoning", "response", "file", "line"]
    identified = with_ids(made, key, content, parents, sample_index_column="sample_index")
    return problems.take(pa.array(first, pa.int64())), identified
