"""DuckDB over the warehouse: views on the parts that current manifests list.

The way in, not the place of truth: made in memory at connect time, or written aside and swapped
in as `catalog.duckdb`. Ids are shown as lower-case hex. Knows manifests, not assets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse import rejected, requested
from warehouse.errors import WarehouseError, explained
from warehouse.files.filesystem import replacing
from warehouse.files.lake import Lake
from warehouse.files.verify import verify_local
from warehouse.rows import PARENTS, ROW_ID
from warehouse.schemas import RESERVED, SCHEMAS
from warehouse.store import Store

if TYPE_CHECKING:
    import duckdb

CATALOG = "catalog.duckdb"
PARENTS_AS_HEX = (
    "list_transform({0}, lambda p: {{row_id: lower(hex(p.row_id)), asset_key: p.asset_key}})"
)
# How a row that holds a benchmark's question was found: from `contamination` where the data set has
# that table, else from the evidence, which begins with it.
_HITS = """
SELECT dropped.* EXCLUDE (asset_key, data_version),
  coalesce(found.method, CASE WHEN reason LIKE 'contaminat%'
    THEN nullif(regexp_extract(evidence, '^([a-z0-9_]+), score ', 1), '') END) AS method,
  coalesce(found.score, CASE WHEN reason LIKE 'contaminat%'
    THEN TRY_CAST(regexp_extract(evidence, '^[a-z0-9_]+, score ([0-9.]+)', 1) AS DOUBLE) END)
    AS score, found.reply, dropped.asset_key, dropped.data_version
FROM ({}) AS dropped LEFT JOIN (
  SELECT member, asset_key, any_value(method) AS method, any_value(score) AS score,
    any_value(reply) AS reply FROM contamination GROUP BY ALL
) AS found ON found.member = dropped.row_id AND found.asset_key = dropped.asset_key
"""

ASSETS = pa.schema(
    [
        ("asset_key", pa.string()),
        ("partition", pa.string()),
        ("stage", pa.string()),
        ("model", pa.string()),
        ("data_version", pa.string()),
        ("is_current", pa.bool_()),
        ("memo_key", pa.string()),
        ("code_version", pa.string()),
        ("recipe_hash", pa.string()),
        ("run_id", pa.string()),
        ("materialized_at", pa.timestamp("ms")),
        ("seconds", pa.float64()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("path", pa.string()),
        ("reproducibility", pa.string()),
    ]
)
LINEAGE = pa.schema(
    [
        ("asset_key", pa.string()),
        ("data_version", pa.string()),
        ("parent_key", pa.string()),
        ("parent_version", pa.string()),
        ("is_current", pa.bool_()),
    ]
)


def connect(home: str | Path | Store, *, verify: bool | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with all views; takes no lock, so people query while runs write.

    It reaches no file but the parts its views read, and its settings are locked. `verify` hashes
    those parts first (default: yes for a local home, no for an object store).
    """
    import duckdb

    store = home if isinstance(home, Store) else Store(home)
    connection = duckdb.connect(":memory:")
    if store.files.local is None:
        connection.register_filesystem(store.files.fs)
    paths = _fill(connection, store, store.files.local is not None if verify is None else verify)
    allowed = ", ".join(_quoted(path) for path in paths)
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def query(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    """Run one read-only statement; `WarehouseError`, one line, when it is wrong or would write."""
    import duckdb

    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1:
            raise WarehouseError(f"give one SQL statement, not {len(statements)}")
        reads = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
        if statements[0].type not in reads:
            kind = str(statements[0].type).rpartition(".")[2]
            raise WarehouseError(f"the warehouse is read-only: {kind} is refused, use SELECT")
        return connection.execute(statements[0])
    except duckdb.Error as error:
        lines = [line.strip() for line in str(error).splitlines()]
        shown = [line for line in lines if line and not line.startswith(("LINE ", "^"))]
        raise WarehouseError(f"SQL: {' '.join(shown)}") from error


def write_catalog(home: str | Path | Store) -> Path:
    """Write `catalog.duckdb` beside the old one and swap it in; returns its path.

    For other programs, opened with `read_only=True`. `WarehouseError` on an object store, where
    `connect` serves instead.
    """
    import duckdb

    store = home if isinstance(home, Store) else Store(home)
    target = store.files.local_path(CATALOG)
    if target is None:
        raise WarehouseError(f"{store.home} is no local folder: use warehouse.catalog.connect")
    with (
        explained(f"write {target}"),
        replacing(target) as aside,
        duckdb.connect(str(aside)) as connection,
    ):
        _fill(connection, store, verify=False)
    return target


def _fill(connection: duckdb.DuckDBPyConnection, store: Store, verify: bool) -> list[str]:
    """Make every view and table; returns the paths of the parts they read."""
    currents = sorted(
        store.currents().values(), key=lambda m: (m["asset_key"], m["partition"] or "")
    )
    stopped = rejected.kept(store.files)
    paths = [*_parts(store, currents, verify), *stopped]
    _table(connection, "assets", _assets(store, currents))
    _table(connection, "asset_lineage", _lineage(store, currents))
    _table(connection, requested.NAME, requested.table(currents))
    further = {name for manifest in currents for name in manifest["tables"]} - set(SCHEMAS)
    names = sorted([*SCHEMAS, *further])  # `blends` and `contamination` come before what reads them
    taken = {"assets", "asset_lineage", "row_lineage", requested.NAME}
    for name in (name for name in names if name not in taken):
        sql = view_sql(name, store, [m for m in currents if name in m["tables"]])
        if name == rejected.FOLDER and stopped:
            addresses = ", ".join(_quoted(path) for path in stopped)
            sql += f" UNION ALL BY NAME SELECT * FROM read_parquet([{addresses}])"
        connection.execute(f"CREATE VIEW {_name(name)} AS {sql}")
    connection.execute(f"CREATE VIEW row_lineage AS {row_lineage_sql(store, currents)}")
    return paths


def _parts(store: Store, currents: Iterable[Mapping[str, Any]], verify: bool) -> list[str]:
    paths = []
    for manifest in currents:
        for name, table in manifest["tables"].items():
            what = f"table {name!r} of {manifest['asset_key']}"
            for part in table["parts"]:
                address = Lake.address(part["sha256"])
                local = store.files.local_path(address)
                if verify and local is not None:
                    verify_local(local, part["sha256"], what)
                elif store.files.entry(address) is None:
                    where = store.files.where(address)
                    raise WarehouseError(f"{where}: {what} is gone; run again to rebuild it")
                paths.append(store.files.where(address))
    return sorted(set(paths))


def _table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("incoming", rows)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
    connection.unregister("incoming")


def _assets(store: Store, currents: Sequence[Mapping[str, Any]]) -> pa.Table:
    current = {manifest["memo_key"] for manifest in currents}
    rows = []
    for manifest in store.manifests():
        observations = manifest["observations"]
        at = datetime.fromisoformat(observations["materialized_at"])
        rows.append(
            {name: manifest.get(name) for name in ASSETS.names}
            | {
                "is_current": manifest["memo_key"] in current,
                "run_id": observations.get("run_id"),
                "materialized_at": at.astimezone(UTC).replace(tzinfo=None),
                "seconds": observations.get("seconds"),
                "path": store.files.where(f"manifests/{manifest['memo_key']}.json"),
            }
        )
    rows.sort(key=lambda row: (row["materialized_at"], row["asset_key"]))
    return pa.Table.from_pylist(rows, schema=ASSETS)


def _lineage(store: Store, currents: Sequence[Mapping[str, Any]]) -> pa.Table:
    current = {manifest["memo_key"] for manifest in currents}
    rows = [
        {
            "asset_key": manifest["asset_key"],
            "data_version": manifest["data_version"],
            "parent_key": parent["asset_key"],
            "parent_version": parent["data_version"],
            "is_current": manifest["memo_key"] in current,
        }
        for manifest in store.manifests()
        for parent in manifest["inputs"].values()
    ]
    rows.sort(key=lambda row: tuple(str(value) for value in row.values()))
    return pa.Table.from_pylist(rows, schema=LINEAGE)


def view_sql(name: str, store: Store, manifests: Sequence[Mapping[str, Any]]) -> str:
    """The SELECT behind a domain view: declared columns, further ones, asset_key, data_version."""
    schema = SCHEMAS.get(name, pa.schema([]))
    declared = {field.name: str(field.type) for field in schema}
    extra: dict[str, str] = {}
    for manifest in manifests:
        for column, kind in manifest["tables"][name]["columns"]:
            if column not in declared:
                extra.setdefault(column, kind)
    selects = []
    for manifest in manifests:
        there = dict(manifest["tables"][name]["columns"])
        columns = [
            _column(column, kind, there, schema) for column, kind in (declared | extra).items()
        ]
        for label, value in zip(
            RESERVED, (manifest["asset_key"], manifest["data_version"]), strict=True
        ):
            columns.append(f"{_quoted(value)} AS {label}")
        source = _source(store, manifest["tables"][name])
        selects.append(f"SELECT {', '.join(columns)} FROM {source}")
    if not selects:
        nulls = [f"CAST(NULL AS {_duck(_shown(f.type))}) AS {_name(f.name)}" for f in schema]
        nulls += [f"CAST(NULL AS VARCHAR) AS {label}" for label in RESERVED]
        selects.append(f"SELECT {', '.join(nulls)} WHERE false")
    sql = " UNION ALL ".join(selects)
    if name == "sft_samples":
        sql = (
            f"SELECT samples.* EXCLUDE (asset_key, data_version), used.used_in_training, "
            f"samples.asset_key, samples.data_version FROM ({sql}) AS samples LEFT JOIN "
            "(SELECT sample_id, string_agg(DISTINCT split_part(asset_key, '/', 1), ',' "
            "ORDER BY split_part(asset_key, '/', 1)) AS used_in_training "
            "FROM blends GROUP BY sample_id) AS used ON used.sample_id = samples.row_id"
        )
    return _HITS.format(sql) if name == "dropped" else sql


def row_lineage_sql(store: Store, manifests: Sequence[Mapping[str, Any]]) -> str:
    """The SELECT behind `row_lineage`: one row a parent of a row, dropped rows included."""
    selects = []
    for manifest in manifests:
        for table in manifest["tables"].values():
            kinds = dict(table["columns"])
            if kinds.get("row_id") != str(ROW_ID) or kinds.get("parents") != str(PARENTS):
                continue
            selects.append(
                f"SELECT lower(hex(row_id)) AS row_id, {_quoted(manifest['asset_key'])} AS "
                "asset_key, lower(hex(p.row_id)) AS parent_row_id, p.asset_key AS "
                f"parent_asset_key, {_quoted(manifest['data_version'])} AS data_version FROM "
                f"(SELECT row_id, unnest(parents) AS p FROM {_source(store, table)})"
            )
    names = ("row_id", "asset_key", "parent_row_id", "parent_asset_key", "data_version")
    if not selects:
        selects = [f"SELECT {', '.join(f'NULL::VARCHAR AS {name}' for name in names)} WHERE false"]
    return " UNION ALL ".join(selects)


def _column(column: str, kind: str, there: Mapping[str, str], schema: pa.Schema) -> str:
    label = _name(column)
    if column not in there:
        if column in schema.names:
            return f"CAST(NULL AS {_duck(_shown(schema.field(column).type))}) AS {label}"
        return f"NULL AS {label}"
    if there[column] == str(ROW_ID):
        return f"lower(hex({label})) AS {label}"
    if there[column] == str(PARENTS):
        return f"{PARENTS_AS_HEX.format(label)} AS {label}"
    if column in schema.names and there[column] != kind:  # written under an older schema
        return f"CAST({label} AS {_duck(schema.field(column).type)}) AS {label}"
    return label


def _shown(kind: pa.DataType) -> pa.DataType:
    """The type as views show it: ids as text."""
    if kind == ROW_ID:
        return pa.string()
    if kind == PARENTS:
        return pa.list_(pa.struct([("row_id", pa.string()), ("asset_key", pa.string())]))
    return kind


def _duck(kind: pa.DataType) -> str:
    """The DuckDB name of an Arrow type used in `SCHEMAS`."""
    if pa.types.is_list(kind):
        return f"{_duck(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        inside = ", ".join(f"{_name(f.name)} {_duck(f.type)}" for f in kind.fields)
        return f"STRUCT({inside})"
    names = {
        pa.string(): "VARCHAR",
        pa.bool_(): "BOOLEAN",
        pa.int32(): "INTEGER",
        pa.int64(): "BIGINT",
        pa.float64(): "DOUBLE",
        ROW_ID: "BLOB",
    }
    return names[kind]


def _source(store: Store, table: Mapping[str, Any]) -> str:
    paths = (store.files.where(Lake.address(part["sha256"])) for part in table["parts"])
    return f"read_parquet([{', '.join(_quoted(path) for path in paths)}])"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
