"""Partitions: readers see a partitioned asset whole or not at all, never two layouts at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from warehouse import catalog, gc, lineage
from warehouse.artifact import Artifact, Output, parts
from warehouse.errors import WarehouseError
from warehouse.manifest import label, whole_version
from warehouse.store import Request, Store

Layout = dict[str | None, dict[str, Any]]
Make = Callable[..., Artifact]


def layout(count: int, **slices: Any) -> Layout:
    return {f"g{n}": {"groups": count, "group": n} | slices.get(f"g{n}", {}) for n in range(count)}


def build(store: Store, wanted: Layout, partition: str | None, key: str = "m/library") -> Artifact:
    """One partition of `wanted`, with its share of six rows."""

    def fn(workdir: Any, inputs: Any, recipe: dict[str, Any], execution: Any) -> Output:
        share = list(range(6))[recipe.get("group", 0) :: recipe.get("groups", 1)]
        times = recipe.get("times", 1)
        return Output({"rows_of": pa.table({"n": pa.array([n * times for n in share])})})

    return store.build(
        Request(key, partition, fn, {}, wanted[partition], 0, code_version="1", layout=wanted)
    )


def shown(store: Store) -> list[int]:
    """What a reader of the view sees."""
    with catalog.connect(store) as connection:
        tables = catalog.query(connection, "SELECT view_name FROM duckdb_views()").fetchall()
        if ("rows_of",) not in tables:
            return []
        rows = catalog.query(connection, "SELECT n FROM rows_of ORDER BY n").fetchall()
    return [n for (n,) in rows]


def test_readers_wait_for_all_and_never_see_two_layouts(any_store: Store) -> None:
    store, two, three = any_store, layout(2), layout(3)
    build(store, two, "g0")
    assert shown(store) == [] and store.parts("m/library") == {}
    assert [partition for _, partition in store.heads()] == ["g0"]
    build(store, two, "g1")
    assert shown(store) == [0, 1, 2, 3, 4, 5]
    before = store.parts("m/library")
    assert list(before) == ["g0", "g1"] and store.current("m/library") is None
    assert store.current("m/library", "g1") is not None

    for partition in ("g2", "g0"):  # in any order
        build(store, three, partition)
        assert shown(store) == [0, 1, 2, 3, 4, 5]
        now = store.parts("m/library")
        assert {n: a.memo_key for n, a in now.items()} == {n: a.memo_key for n, a in before.items()}
    build(store, three, "g1")
    assert shown(store) == [0, 1, 2, 3, 4, 5] and len(store.parts("m/library")) == 3
    build(store, two, "g1")
    build(store, two, "g0")
    assert list(store.parts("m/library")) == ["g0", "g1"] and shown(store) == [0, 1, 2, 3, 4, 5]
    assert ("m/library", "g2") not in store.heads()


def test_a_changed_partition_takes_its_place_at_once_when_the_others_stand(store: Store) -> None:
    for partition in layout(2):
        build(store, layout(2), partition)
    build(store, layout(2, g1={"times": 10}), "g1")
    assert shown(store) == [0, 2, 4, 10, 30, 50]
    both = layout(2, g0={"times": 100}, g1={"times": 100})
    build(store, both, "g0")
    assert shown(store) == [0, 2, 4, 10, 30, 50], "a change of both is seen when both are built"
    build(store, both, "g1")
    assert shown(store) == [0, 100, 200, 300, 400, 500]


def test_partitioning_and_giving_it_up(any_store: Store) -> None:
    store, plain = any_store, Layout({None: {}})
    old = build(store, plain, None)
    build(store, layout(2), "g0")
    assert store.current("m/library") is not None and shown(store) == [0, 1, 2, 3, 4, 5]
    assert gc.collect(store, dry_run=True).versions == []
    build(store, layout(2), "g1")
    assert store.current("m/library") is None and shown(store) == [0, 1, 2, 3, 4, 5]
    assert gc.collect(store, dry_run=True).versions == [("m/library", old.data_version)]
    assert build(store, plain, None).memo_key == old.memo_key
    assert shown(store) == [0, 1, 2, 3, 4, 5] and list(store.heads()) == [("m/library", None)]
    superseded = gc.collect(store)
    assert {name for name, _ in superseded.versions} == {"m/library[g0]", "m/library[g1]"}
    assert list(store.wholes_ever()) == [] and shown(store) == [0, 1, 2, 3, 4, 5]


def test_versions_of_the_whole_and_of_partitions(store: Store) -> None:
    for partition in layout(2):
        build(store, layout(2), partition)
    first = store.parts("m/library")
    version = whole_version({str(name): part.data_version for name, part in first.items()})
    build(store, layout(2, g1={"times": 3}), "g1")
    assert list(store.parts("m/library", version[:8])) == ["g0", "g1"]
    assert store.parts("m/library", version)["g1"].memo_key == first["g1"].memo_key
    one = store.parts("m/library", first["g1"].data_version[:10])
    assert list(one) == ["g1"] and one["g1"].label == "m/library[g1]"
    assert (
        list(store.parts("m/library[g0]")) == list(store.parts("m/library[g0]", version)) == ["g0"]
    )
    assert store.parts("m/library[g9]") == {}
    assert lineage.asset_tree(store, "m/library[g1]").partition == "g1"
    with pytest.raises(WarehouseError, match=r"fits no version; there are .* \(g0\)"):
        store.parts("m/library", "zz")
    tree = lineage.asset_tree(store, "m/library")
    assert tree.partition is None and [each.partition for each in tree.branches] == ["g0", "g1"]
    assert tree.rows == 6 and tree.is_current
    old = lineage.asset_tree(store, f"m/library@{version[:8]}")
    assert old.data_version == version and not old.is_current
    with catalog.connect(store) as connection:
        current = "SELECT partition FROM assets WHERE is_current ORDER BY 1"
        assert catalog.query(connection, current).fetchall() == [("g0",), ("g1",)]


def test_partitions_come_in_the_order_of_their_numbers(store: Store) -> None:
    names = ["layers_10-20", "layers_0-3", "layers_4-9"]
    wanted: Layout = {name: {} for name in names}
    inputs = {f"library@{name}": build(store, wanted, name) for name in names}
    found = [part.partition for part in parts(inputs, "library")]
    assert found == ["layers_0-3", "layers_4-9", "layers_10-20"]
    assert parts({"library": inputs["library@layers_0-3"]}, "library")[0].partition == "layers_0-3"
    assert label("a/b", None) == "a/b" and label("a/b", "c") == "a/b[c]"
    with pytest.raises(KeyError, match="no input 'libr'"):
        parts(inputs, "libr")
