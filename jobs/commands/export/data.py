"""SFT samples as files that others load: the published columns, then ours, and a card that adds up.

Rows stream through DuckDB batch by batch; a folder is there whole or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assets.catalog import all_specs
from jobs.commands.export.card import CARD, Facts, Part, card
from jobs.errors import CommandError
from warehouse.catalog import PARENTS_AS_HEX

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from resources.recipe.schema import Recipe
    from resources.store.home import Home
    from warehouse.store import Artifact, Store

SAMPLES = "sft_samples"
# As in the published Llama-Nemotron set; `used_in_training` is one string there too.
PUBLISHED = (
    "input",
    "output",
    "category",
    "license",
    "reasoning",
    "generator",
    "used_in_training",
    "version",
    "system_prompt",
)
ID = "fixed_size_binary[16]"


def all_samples(home: Home, recipe: Recipe) -> list[Artifact]:
    """What the home holds of the recipe's data sets; CommandError where that is none."""
    from warehouse.store import Store

    store = Store(home.path)
    found = [one for spec in all_specs(recipe) for one in store.parts(spec.key).values()]
    samples = [each for each in found if SAMPLES in each.manifest["tables"]]
    if not samples:
        raise CommandError(f"{home.path} holds no SFT samples of the recipe {recipe.name} yet")
    return samples


def export(home: Home, artifacts: list[Artifact], form: str, folder: Path) -> int:
    """Write one file, or folder, a data set, and the card; print what was written.

    CommandError where a data set's rows do not add up to those that it was made from.
    """
    from resources.models.folders import NOTE, write_json
    from warehouse.errors import explained
    from warehouse.files.filesystem import replacing_folder
    from warehouse.store import Store

    store = Store(home.path)
    parts = [part(store, each) for each in artifacts]
    note = {
        "format": form,
        "data": {p.name: {"asset_key": p.key, "data_version": p.data_version} for p in parts},
    }
    with (
        explained(f"write {folder}"),
        replacing_folder(folder) as aside,
        _uses(store) as connection,
    ):
        for each, artifact in zip(parts, artifacts, strict=True):
            written = _written(connection, artifact, form, aside / each.name)
            if written != each.kept:
                raise CommandError(f"{each.key}: wrote {written:,} rows of {each.kept:,}")
        (aside / CARD).write_text(card(folder.name, parts, form))
        write_json(aside / NOTE, note)
    for each in parts:
        print(f"{each.key}@{each.data_version[:12]}: {each.balance}")
    print(f"{sum(each.kept for each in parts):,} samples as {form}: {folder}")
    return 0


def part(store: Store, artifact: Artifact) -> Part:
    """What the card says of a data set; CommandError where rows got lost on the way to it."""
    import duckdb

    tables = artifact.manifest["tables"]
    with duckdb.connect() as connection:
        facts = connection.register(
            "samples", artifact.table(SAMPLES, ["license", "generator", "reasoning", "tokens"])
        ).execute(
            "SELECT license, generator, reasoning, count(*), sum(tokens)::BIGINT FROM samples "
            "GROUP BY ALL ORDER BY ALL"
        )
        by = [Facts(*row) for row in facts.fetchall()]
        reasons = {"rejected": tables["rejected"]["rows"]} if "rejected" in tables else {}
        reasons = {why: rows for why, rows in reasons.items() if rows}
        if "dropped" in tables:
            connection.register("dropped", artifact.table("dropped", ["reason"]))
            counted = "SELECT reason, count(*) FROM dropped GROUP BY ALL ORDER BY ALL"
            reasons |= dict(connection.execute(counted).fetchall())
    found = Part(
        artifact.key.partition("/")[2],
        artifact.key,
        artifact.data_version,
        _entering(store, artifact),
        tables[SAMPLES]["rows"],
        reasons,
        by,
    )
    if found.entering != found.kept + sum(reasons.values()):
        raise CommandError(f"{found.key}: {found.balance}: some rows are not accounted for")
    return found


def _entering(store: Store, artifact: Artifact) -> int:
    """The rows that samples were chosen from: those of a source, or the answers to problems."""
    if "sources" in artifact.manifest["tables"]:
        return int(sum(artifact.table("sources", ["rows_in"])["rows_in"].to_pylist()))
    made_from = artifact.manifest["inputs"]["generations"]
    generations = store.memo(made_from["memo_key"])
    if generations is None:
        raise CommandError(
            f"{artifact.label}@{artifact.data_version[:12]} was chosen from answers that are gone "
            f"({made_from['asset_key']}@{made_from['data_version'][:12]}): export the current one"
        )
    return int(generations.manifest["tables"]["generations"]["rows"])


def _uses(store: Store) -> duckdb.DuckDBPyConnection:
    """A connection with the table `uses`: the models whose current blends draw a sample."""
    import duckdb

    from warehouse.catalog import connect

    with connect(store) as views:
        uses = views.sql(
            "SELECT DISTINCT row_id AS sample_id, replace(used_in_training, ',', ', ') AS "
            "used_in_training FROM sft_samples WHERE used_in_training IS NOT NULL"
        ).to_arrow_table()
    connection = duckdb.connect()
    connection.register("arrived", uses)
    connection.execute("CREATE TABLE uses AS SELECT * FROM arrived")
    return connection


def _written(
    connection: duckdb.DuckDBPyConnection, artifact: Artifact, form: str, path: Path
) -> int:
    """Write one data set beside the others; how many rows it has."""
    if form == "jsonl":
        rows = 0
        with path.with_name(f"{path.name}.jsonl").open("w", encoding="utf-8") as file:
            for batch in _batches(connection, artifact, "to_json(shown) AS line"):
                file.writelines(f"{line}\n" for line in batch["line"].to_pylist())
                rows += batch.num_rows
        return rows
    parquet = path.with_name(f"{path.name}.parquet")
    rows = _parquet(_batches(connection, artifact, "*"), parquet)
    if form == "datasets":
        _arrow(parquet, path)
    return rows


def _batches(
    connection: duckdb.DuckDBPyConnection, artifact: Artifact, shown: str
) -> Iterator[pa.Table]:
    """The rows as they are published, in the order of their ids."""
    import pyarrow as pa

    kinds = dict(artifact.manifest["tables"][SAMPLES]["columns"])
    further = [name for name in kinds if name not in {*PUBLISHED, "parents"}]
    columns = [
        *(f'"{name}"' for name in PUBLISHED),
        *(f'lower(hex("{n}")) AS "{n}"' if kinds[n] == ID else f'"{n}"' for n in further),
        f"{PARENTS_AS_HEX.format('parents')} AS parents",
        "? AS asset_key",
        "? AS data_version",
    ]
    sql = (
        f"SELECT {shown} FROM (SELECT {', '.join(columns)} FROM batch LEFT JOIN uses "
        "ON uses.sample_id = lower(hex(batch.row_id))) AS shown ORDER BY shown.row_id"
    )
    arrived = (pa.Table.from_batches([batch]) for batch in artifact.batches(SAMPLES))
    any_rows = artifact.manifest["tables"][SAMPLES]["rows"] > 0
    for batch in arrived if any_rows else iter([artifact.table(SAMPLES)]):
        connection.register("batch", batch)
        made_of = [artifact.key, artifact.data_version]
        yield connection.sql(sql, params=made_of).to_arrow_table()


def _parquet(batches: Iterator[pa.Table], path: Path) -> int:
    import pyarrow.parquet as pq

    rows, writer = 0, None
    for batch in batches:
        writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd")
        writer.write_table(batch)
        rows += batch.num_rows
    if writer is not None:
        writer.close()
    return rows


def _arrow(parquet: Path, folder: Path) -> None:
    """A `datasets` folder, for `load_from_disk`, in place of the Parquet file."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    cache = folder.with_name(f"{folder.name}.cache")
    made = Dataset.from_parquet(str(parquet), cache_dir=str(cache))
    made.save_to_disk(folder)
    shutil.rmtree(cache)
    parquet.unlink()
