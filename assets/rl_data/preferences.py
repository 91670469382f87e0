"""Preferences that somebody recorded, as rows: typed, identified, every row accounted for.

Trains nothing: the pairs of a model's own answers are made in `preference_pairs.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.files.spool import Spool
from warehouse.store import Artifact, CheckResult, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution


def read_preferences(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Execution
) -> Output:
    """The tables `preferences`, `rejected` and `sources` of one source.

    `recipe`: `name`, `source`, `shards` (each `{shard, pieces}`), `max_drop`. Raises RowsRejected
    where too many rows do not fit.
    """
    from resources.recipe.sections.data import Source
    from resources.sources.account import Account
    from resources.sources.reading import read
    from resources.sources.shards import of_entries

    source = Source.model_validate(recipe["source"])
    account = Account(recipe["name"], source.path)
    with Spool(workdir / "preferences.arrow") as spool:
        for shard in of_entries(recipe["shards"], iter(execution.observe)):
            for batch in read(source, shard):
                account.add(batch)
                spool.add(_identified(batch.kept, source.license, recipe))
    account.settle(recipe["max_drop"])
    return Output(
        tables={
            "preferences": spool.batches(),
            "rejected": account.table(),
            "sources": account.summary(),
        },
        metrics={"kept": float(account.kept), "rejected": float(account.dropped)},
    )


def _identified(rows: pa.RecordBatch, license_name: str, recipe: Mapping[str, Any]) -> pa.Table:
    """Pairs as rows of `preferences`; where a row stands is part of its identity."""
    import pyarrow as pa

    from warehouse.rows import with_ids

    count = rows.num_rows
    found = rows.column("preference")
    fields = dict(zip(found.type.names, found.flatten(), strict=True))
    table = pa.table(
        {
            "problem_id": pa.nulls(count, pa.binary(16)),
            "chosen": fields["chosen"],
            "rejected": fields["rejected"],
            "chosen_reward": fields["chosen_score"],
            "rejected_reward": fields["rejected_score"],
            "reasoning": pa.nulls(count, pa.string()),
            "prompt": fields["prompt"],
            "source": pa.repeat(recipe["name"], count),
            "license": pa.repeat(license_name, count),
            "file": rows.column("file"),
            "line": rows.column("line"),
        }
    )
    return with_ids(table, recipe["asset_key"], ["chosen", "rejected", "file"], None, "line")


def rows_accounted(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every row of a source is a pair or a rejected row."""
    rows = {name: artifact.manifest["tables"][name]["rows"] for name in ("preferences", "rejected")}
    read = sum(artifact.table("sources", ["rows_in"])["rows_in"].to_pylist())
    return CheckResult(
        name="rows_accounted",
        passed=read == sum(rows.values()),
        description=f"{read} rows = {rows['preferences']} pairs + {rows['rejected']} rejected",
    )
