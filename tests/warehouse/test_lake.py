"""Parts: the same rows give the same bytes, however they arrive; one changed row, one part."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.errors import WarehouseError
from warehouse.files import lake as lake_module
from warehouse.files.filesystem import Files
from warehouse.files.lake import Lake
from warehouse.rows import row_id, with_ids


def _table(count: int) -> pa.Table:
    plain = pa.table({"n": list(range(count)), "text": [f"row {i}" * 5 for i in range(count)]})
    return with_ids(plain, "x/a", ["n"])


def _write(tmp_path: Path, data: Any, name: str = "numbers") -> dict[str, Any]:
    return Lake(Files(tmp_path / "home")).write(name, "x/a", data, tmp_path / "spill")


def test_order_and_batching_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "BUCKET_ROWS", 30)
    table = _table(300)
    order = list(range(300))
    random.Random(0).shuffle(order)
    shuffled = table.take(order)

    def stream() -> Iterator[pa.RecordBatch]:
        yield from shuffled.to_batches(max_chunksize=37)

    whole = _write(tmp_path, table)
    assert len(whole["parts"]) == 16
    assert _write(tmp_path, stream()) == whole
    assert _write(tmp_path, iter([table.slice(0, 0), *stream()])) == whole
    assert _write(tmp_path, pa.RecordBatchReader.from_batches(table.schema, stream())) == whole
    monkeypatch.setattr(lake_module, "MEMORY", 5_000)
    assert _write(tmp_path, stream()) == whole
    assert not (tmp_path / "spill").exists()
    monkeypatch.setattr(lake_module, "BUCKET_ROWS", 1)
    spilled = _write(tmp_path, stream())
    monkeypatch.setattr(lake_module, "MEMORY", 1 << 30)
    assert _write(tmp_path, stream()) == spilled
    lake = Lake(Files(tmp_path / "home"))
    read = lake.table(whole, "numbers")
    assert read.equals(table.sort_by("row_id")) and lake.table(spilled, "numbers").equals(read)
    assert pa.Table.from_batches(lake.batches(whole, "numbers", ["n"], 7)).equals(
        read.select(["n"])
    )


def test_memory_is_that_of_a_bucket_however_long_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "MEMORY", 1 << 20)
    monkeypatch.setattr(lake_module, "BUCKET_ROWS", 64)

    def stream(rows: int) -> Iterator[pa.RecordBatch]:
        for start in range(0, rows, 32):
            numbers = range(start, start + 32)
            texts = [random.Random(number).randbytes(8000).hex() for number in numbers]
            plain = pa.table({"n": list(numbers), "text": texts})
            yield from with_ids(plain, "x/a", ["n"]).to_batches()

    def most(rows: int) -> int:
        """The most bytes of Arrow data held while so many rows are written."""
        before = pa.default_memory_pool()
        pool = pa.proxy_memory_pool(before)
        pa.set_memory_pool(pool)
        try:
            assert _write(tmp_path, stream(rows))["rows"] == rows
        finally:
            pa.set_memory_pool(before)
        return int(pool.max_memory() or 0)

    assert most(2048) < 1.25 * most(512)


def test_one_added_row_rewrites_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "BUCKET_ROWS", 50)
    before = {part["sha256"] for part in _write(tmp_path, _table(900))["parts"]}
    after = {part["sha256"] for part in _write(tmp_path, _table(901))["parts"]}
    assert len(after - before) == 1 and len(before) == 32


def test_tables_without_row_ids_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "PART_ROWS", 64)
    table = pa.table({"step": list(range(200, 0, -1))})
    entry = _write(tmp_path, table)
    assert [part["rows"] for part in entry["parts"]] == [64, 64, 64, 8]
    assert _write(tmp_path, iter(table.to_batches(max_chunksize=7))) == entry
    assert Lake(Files(tmp_path / "home")).table(entry, "t").equals(table)


def test_empty_tables_keep_their_columns(tmp_path: Path) -> None:
    entry = _write(tmp_path, iter([]), "problems")
    assert entry["rows"] == 0
    read = Lake(Files(tmp_path / "home")).table(entry, "t")
    assert read.num_rows == 0 and "question" in read.column_names
    with pytest.raises(WarehouseError, match="empty stream without a schema"):
        _write(tmp_path, iter([]), "numbers")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    twice = pa.concat_tables([_table(3), _table(3)])
    with pytest.raises(WarehouseError, match=r"x/a: table 'numbers': row_id .* stands twice"):
        _write(tmp_path, twice)
    with pytest.raises(WarehouseError, match="lacks the column 'generation_id'"):
        _write(tmp_path, pa.table({"verdict": ["correct"]}), "verdicts")
    steps = pa.table({"step": ["one"], "tokens": [1], "metric": ["loss"], "value": [1.0]})
    with pytest.raises(WarehouseError, match="column 'step': string does not fit int64"):
        _write(tmp_path, steps, "training_metrics")
    with pytest.raises(WarehouseError, match="column 'asset_key', which the view adds"):
        _write(tmp_path, pa.table({"asset_key": ["x"]}))
    batches = [pa.record_batch({"a": [1]}), pa.record_batch({"a": ["x"]})]
    with pytest.raises(WarehouseError, match="batch 1 has columns a string"):
        _write(tmp_path, iter(batches))


def test_declared_types_and_missing_optional_columns(tmp_path: Path) -> None:
    table = pa.table(
        {
            "extra": [1],
            "metric": pa.array(["loss"]).dictionary_encode(),
            "step": pa.array([1], pa.int32()),
            "tokens": pa.array([1], pa.int8()),
            "value": pa.array([0.5], pa.float32()),
        }
    ).replace_schema_metadata({"pandas": "…"})
    entry = _write(tmp_path, table, "training_metrics")
    read = Lake(Files(tmp_path / "home")).table(entry, "t")
    assert read.column_names == ["step", "tokens", "metric", "value", "stage", "extra"]
    assert read.schema.metadata is None and read.column("stage").null_count == 1


@given(
    st.text(),
    st.one_of(st.text(), st.binary()),
    st.lists(st.binary(min_size=16, max_size=16), max_size=3),
    st.one_of(st.none(), st.integers(0, 9)),
)
@settings(max_examples=40, deadline=None)
def test_row_ids_depend_on_every_argument(
    key: str, content: str | bytes, parents: list[bytes], index: int | None
) -> None:
    base = row_id(key, content, parents, index)
    assert len(base) == 16 and base == row_id(key, content, list(parents), index)
    longer = content + ("x" if isinstance(content, str) else b"x")  # type: ignore[operator]
    others = {
        row_id(key + "x", content, parents, index),
        row_id(key, longer, parents, index),
        row_id(key, content, [*parents, bytes(16)], index),
        row_id(key, content, parents, 10 if index is None else None),
    }
    assert base not in others and len(others) == 4


@given(st.lists(st.text(max_size=5), max_size=8, unique=True), st.randoms())
@settings(max_examples=30, deadline=None)
def test_row_ids_do_not_depend_on_neighbours(texts: list[str], rng: random.Random) -> None:
    ids = dict(
        zip(
            texts,
            with_ids(pa.table({"t": pa.array(texts, pa.string())}), "k", ["t"])[
                "row_id"
            ].to_pylist(),
            strict=True,
        )
    )
    some = [text for text in texts if rng.random() < 0.5]
    rng.shuffle(some)
    again = with_ids(pa.table({"t": pa.array(some, pa.string())}), "k", ["t"])["row_id"].to_pylist()
    assert again == [ids[text] for text in some] and len(set(ids.values())) == len(texts)


def test_with_ids_replaces_and_refuses() -> None:
    table = with_ids(_table(2), "x/b", ["n"], sample_index_column="n")
    assert table.column_names == ["row_id", "n", "text", "parents"]
    with pytest.raises(ValueError, match="x/b: no column 'nope'"):
        with_ids(_table(2), "x/b", ["nope"])
    with pytest.raises(ValueError, match="16 bytes"):
        row_id("x/b", "c", [b"short"])
