"""DuckDB's views, lineage trees and collection, on local homes and object stores."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from warehouse import catalog, gc, lineage
from warehouse.artifact import Artifact, Output
from warehouse.errors import RowsRejected, WarehouseError
from warehouse.rows import parents_of, with_ids
from warehouse.schemas import SCHEMAS
from warehouse.store import Request, Store

Make = Callable[..., Artifact]


def family(store: Store, build: Make) -> tuple[Artifact, Artifact]:
    parent = build(store)
    return parent, build(store, "super/blend", inputs={"p": parent}, stage="sft_data")


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return catalog.query(catalog.connect(store), sql).fetchall()


def test_views_show_current_versions(any_store: Store, build: Make) -> None:
    old = build(any_store, recipe={"questions": ["old"]})
    parent, _ = family(any_store, build)
    assert rows(any_store, "SELECT question, data_version FROM problems ORDER BY ALL") == [
        ("q1", parent.data_version),
        ("q2", parent.data_version),
    ]
    assert rows(any_store, "SELECT is_current, count(*) FROM assets GROUP BY ALL ORDER BY 1") == [
        (False, 1),
        (True, 2),
    ]
    assert rows(any_store, "SELECT parent_key, parent_version FROM asset_lineage") == [
        ("problems/math", parent.data_version)
    ]
    assert old.data_version not in {
        v for (v,) in rows(any_store, "SELECT data_version FROM problems")
    }
    ids = rows(any_store, "SELECT row_id FROM problems ORDER BY 1")
    assert ids == rows(any_store, "SELECT parent_row_id FROM row_lineage ORDER BY 1")
    assert ids == rows(any_store, "SELECT sample_id FROM blends ORDER BY 1")
    assert all(len(i) == 32 and i == i.lower() for (i,) in ids)
    assert rows(any_store, "SELECT parents[1].row_id = sample_id FROM blends LIMIT 1") == [(True,)]


def test_every_view_of_the_contract_is_there_when_nothing_is(tmp_path: Path) -> None:
    connection = catalog.connect(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    for name in [*SCHEMAS, "assets", "asset_lineage", "row_lineage"]:
        assert catalog.query(connection, f"SELECT * FROM {name}").fetchall() == []
    described = catalog.query(connection, "DESCRIBE sft_samples").fetchall()
    assert ("used_in_training", "VARCHAR") in [(column[0], column[1]) for column in described]
    assert ("input", 'STRUCT("role" VARCHAR, "content" VARCHAR)[]') in [
        (column[0], column[1]) for column in described
    ]


def test_dropped_rows_and_used_in_training(store: Store, build: Make) -> None:
    problem = build(store)
    identity = problem.table("problems")["row_id"][0].as_py()
    columns = ("domain", "output", "category", "license", "reasoning", "generator")
    sample = {name: ["x"] for name in (*columns, "version", "system_prompt")}
    messages = [[{"role": "user", "content": "hi"}]]
    above = parents_of([[identity]], [["problems/math"]])

    def samples(*_: Any) -> Output:
        table = with_ids(
            pa.table(sample | {"input": messages, "tokens": [3]}), "d/s", ["input"], above
        )
        gone = with_ids(
            pa.table({"reason": ["length"], "evidence": ["9"]}), "d/s", ["reason"], above
        )
        return Output({"sft_samples": table, "dropped": gone})

    made = store.build(Request("d/s", None, samples, {"p": problem}, {}, 0, code_version="1"))
    for model in ("ultra", "nano"):
        blend = pa.table(
            {"sample_id": made.table("sft_samples")["row_id"], "stage": ["s"], "position": [0]}
        )
        blends = with_ids(blend, model, ["stage"])

        def blended(*_: Any, blends: pa.Table = blends) -> Output:
            return Output({"blends": blends})

        store.build(Request(f"{model}/blend", None, blended, {}, {}, 0, code_version="1"))
    assert rows(store, "SELECT used_in_training, input[1].content FROM sft_samples") == [
        ("nano,ultra", "hi")
    ]
    dropped = rows(store, "SELECT row_id FROM dropped")
    assert dropped[0] in rows(
        store, f"SELECT row_id FROM row_lineage WHERE parent_row_id = '{identity.hex()}'"
    )


def test_how_a_contaminated_row_was_found(store: Store) -> None:
    said = {"row_id": [b"a" * 16, b"b" * 16, b"c" * 16, b"d" * 16]}
    said |= {"reason": ["contaminated", "contaminated", "incorrect", "contamination undecided"]}
    said |= {"evidence": ["ngram_13, score 0.30: x", "by hand", "exact, score 1.00: y", "z"]}
    hit = {"member": [b"d" * 16], "item": [b"e" * 16], "method": ["neighbour"], "score": [0.2]}
    hit |= {"decision": ["contamination undecided"], "evidence": ["z"], "reply": ["Unclear."]}
    kinds = {name: pa.binary(16) for name in ("row_id", "member", "item")}

    def made(columns: dict[str, list[Any]]) -> pa.Table:
        return pa.table({k: pa.array(v, kinds.get(k)) for k, v in columns.items()})

    def fn(*_: Any) -> Output:
        return Output({"dropped": made(said), "contamination": made(hit)})

    store.build(Request("d/s", None, fn, {}, {}, 0, code_version="1"))
    assert rows(store, "SELECT method, score, reply FROM dropped ORDER BY row_id") == [
        ("ngram_13", 0.3, None),
        (None, None, None),
        (None, None, None),
        ("neighbour", 0.2, "Unclear."),
    ]


def test_queries_cannot_write_or_read_elsewhere(store: Store, build: Make, tmp_path: Path) -> None:
    family(store, build)
    connection = catalog.connect(store)
    outside = tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    part = next(Path(store.home, "lake").glob("*/*.parquet"))
    before = part.read_bytes()
    for sql, message in {
        f"SELECT * FROM read_csv('{outside}')": "Permission Error",
        f"COPY (SELECT 1) TO '{outside}'": "read-only: COPY is refused",
        "DROP VIEW problems": "read-only: DROP is refused",
        "SET threads = 1": "read-only",
        "SELECT 1; SELECT 2": "one SQL statement, not 2",
        "": "one SQL statement, not 0",
        "SELEC 1": "SQL: Parser Error: syntax error",
        "SELECT nope FROM problems": "nope",
    }.items():
        with pytest.raises(WarehouseError, match=message) as error:
            catalog.query(connection, sql)
        assert "\n" not in str(error.value)
    for sql in (
        f"COPY (SELECT 1) TO '{tmp_path}/x.csv'",
        f"COPY (SELECT 1 AS a) TO '{part}'",
        f"ATTACH '{tmp_path}/x.duckdb'",
        "SET enable_external_access = true",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(sql)
    assert part.read_bytes() == before


def test_a_damaged_part_is_reported_at_connect(store: Store, build: Make) -> None:
    build(store)
    part = next(Path(store.home, "lake").glob("*/*.parquet"))
    part.chmod(0o644)
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(WarehouseError, match="table 'problems' of problems/math is corrupted"):
        catalog.connect(store)
    part.unlink()
    with pytest.raises(WarehouseError, match="is gone; run again"):
        catalog.connect(store)


def test_the_catalog_file_is_swapped_in_under_readers(store: Store, build: Make) -> None:
    build(store)
    path = catalog.write_catalog(store)
    reader = duckdb.connect(str(path), read_only=True)
    assert reader.execute("SELECT count(*) FROM problems").fetchone() == (2,)
    build(store, recipe={"questions": ["only"]})
    inode = os.stat(path).st_ino
    assert catalog.write_catalog(store) == path and os.stat(path).st_ino != inode
    assert reader.execute("SELECT count(*) FROM problems").fetchone() == (2,)
    reader.close()
    with duckdb.connect(str(path), read_only=True) as again:
        assert again.execute("SELECT count(*) FROM problems").fetchone() == (1,)
    assert not [p for p in path.parent.iterdir() if p.name.startswith(".catalog")]


def test_trees_of_assets_and_rows(any_store: Store, build: Make) -> None:
    parent, _ = family(any_store, build)
    up = lineage.asset_tree(any_store, "super/blend")
    assert [node.asset_key for node in up.branches] == ["problems/math"] and up.is_current
    down = lineage.asset_tree(any_store, f"problems/math@{parent.data_version[:6]}", down=True)
    assert [node.asset_key for node in down.branches] == ["super/blend"]
    row = lineage.example_row(any_store, "super/blend")
    assert row is not None and row.table == "blends"
    (problem,) = row.branches
    assert problem.asset_key == "problems/math" and problem.text in ("q1", "q2")
    back = lineage.row_tree(any_store, problem.row_id[:12], down=True)
    assert [node.row_id for node in back.branches] == [row.row_id]
    with pytest.raises(WarehouseError, match="no row of"):
        lineage.row_tree(any_store, "0" * 32)
    with pytest.raises(
        WarehouseError, match="no current version of 'math'; there is: problems/math"
    ):
        lineage.asset_tree(any_store, "math")
    assert lineage.is_row_id(row.row_id) and not lineage.is_row_id("super/blend")


def test_collection_keeps_what_is_current_pinned_or_an_ancestor(
    any_store: Store, build: Make
) -> None:
    parent, child = family(any_store, build)
    pinned = build(any_store, recipe={"questions": ["pinned"]})
    gc.pin(any_store, pinned, "paper")
    doomed = build(any_store, recipe={"questions": ["doomed"]})
    build(any_store, recipe={"questions": ["now"]})
    would = gc.collect(any_store, dry_run=True)
    assert would.versions == [("problems/math", doomed.data_version)] and would.files == 1
    assert any_store.memo(doomed.memo_key) is not None
    done = gc.collect(any_store)
    assert done == would and done.bytes > 0
    assert any_store.memo(doomed.memo_key) is None
    for kept in (parent, child, pinned):
        assert any_store.damage(kept.manifest) is None
        assert any_store.artifact(kept.manifest).rows == kept.rows
    gc.unpin(any_store, pinned)
    assert gc.collect(any_store).versions == [("problems/math", pinned.data_version)]
    assert gc.collect(any_store) == gc.Collected()


def test_collection_waits_for_builds(store: Store, build: Make) -> None:
    def fn(*_: Any) -> Output:
        with pytest.raises(WarehouseError, match="a build is running"):
            gc.collect(Store(store.home))
        return Output()

    store.build(Request("x/a", None, fn, {}, {}, 0, code_version="1"))


def test_collection_frees_the_locks_of_builds_and_no_others(store: Store, build: Make) -> None:
    build(store)
    locks = store.scratch / "locks"
    assert len([name for name in os.listdir(locks) if len(name) == 64]) == 1
    (locks / "driver").touch()
    (locks / "processes").mkdir()
    gc.collect(store)
    assert sorted(os.listdir(locks)) == ["driver", "gc", "processes"]


def test_rows_that_stopped_an_asset_can_be_asked_for_until_it_is_built(
    any_store: Store,
) -> None:
    row = {"source": "mine", "file": "a.jsonl", "line": 7, "field": "text", "value": "null"}
    lost = pa.Table.from_pylist([{**row, "reason": "must be text, is null"}])

    def stops(*_: Any) -> Output:
        raise RowsRejected("1 of 1 rows do not fit", lost)

    def make(fn: Callable[..., Output]) -> Artifact:
        return any_store.build(Request("problems/mine", None, fn, {}, {}, 0, code_version="1"))

    with pytest.raises(RowsRejected):
        make(stops)
    with pytest.raises(RowsRejected):
        make(stops)
    asked = "SELECT asset_key, file, line, reason, data_version FROM rejected"
    assert rows(any_store, asked) == [
        ("problems/mine", "a.jsonl", 7, "must be text, is null", None)
    ]
    made = make(lambda *_: Output(tables={"rejected": lost}))
    assert [row[-1] for row in rows(any_store, asked)] == [made.data_version]


def test_what_answers_took_is_a_view_of_what_was_recorded(any_store: Store) -> None:
    took = {"role": "teacher", "model": "parents/teacher", "requests": 3, "asked": 1, "cached": 2}
    took |= {"prompt_tokens": 5, "completion_tokens": 6, "tokens": 11, "cost": 0.5, "seconds": 1.5}
    table = pa.table({"n": [1]})

    def make(key: str, requests: object) -> None:
        output = Output(tables={"things": table}, observations={"requests": requests})
        any_store.build(Request(key, None, lambda *_: output, {}, {}, 0, code_version="1"))

    make("sft_data/math", [took, {**took, "role": "off", "cost": None}])
    make("sft_data/code", {"asked": 1, "cached": 2})  # as it was recorded once
    asked = "SELECT asset_key, role, model, requests, tokens, cost, seconds FROM requests"
    assert rows(any_store, asked) == [
        ("sft_data/math", "teacher", "parents/teacher", 3, 11, 0.5, 1.5),
        ("sft_data/math", "off", "parents/teacher", 3, 11, None, 1.5),
    ]
