"""Published benchmarks held out whole: every problem of the declared split, for measurement only.

One artifact a benchmark, with its worked examples and the account of its rows. Asks no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def hold_out(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Execution
) -> Output:
    """The tables `problems`, `examples`, `rejected` and `sources` of one benchmark.

    `recipe`: `name`, `benchmark` (how problems are made of rows), `shards` and `example_shards`
    (each `{shard, pieces}`). `inputs`: `corpus`, where the problems are made of what it holds out.
    Raises RowsRejected where too many rows are no problems, SourceError where there are too few
    worked examples.
    """
    from resources.benchmarks.problems import HELD_COLUMNS, collected, examples, held_text
    from resources.recipe.sections.benchmark import Benchmark
    from resources.sources.shards import of_entries

    benchmark = Benchmark.model_validate(recipe["benchmark"])
    local = iter(execution.observe)
    asked = list(of_entries(recipe["shards"], local))
    shots = list(of_entries(recipe["example_shards"], local))
    corpus = inputs.get("corpus")
    documents = held_text(corpus.batches("texts", HELD_COLUMNS)) if corpus is not None else None
    table, account = collected(recipe["name"], benchmark, asked, documents)
    account.settle(benchmark.max_drop)
    shown = examples(recipe["name"], benchmark, shots, table["prompt"].to_pylist())
    return Output(
        tables={
            "problems": table,
            "examples": shown,
            "rejected": account.table(),
            "sources": account.summary(),
        },
        metrics={
            "problems": float(table.num_rows),
            "rejected": float(account.dropped),
            **{reason: float(count) for reason, count in account.left.items()},
        },
    )
