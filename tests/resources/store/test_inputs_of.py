"""Inputs of one partition alone, and readers of one partition: what is new there leaves others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.store.building import Code, materialise, states_of
from resources.store.spec import Spec
from warehouse.store import Artifact, Output, Store

HERE = "tests.resources.store.test_inputs_of"
A, B = (Spec(f"m/{name}", "s", f"{HERE}:given", recipe={"n": n}) for n, name in enumerate("ab"))
TOKENS = Spec(
    "m/tokens",
    "s",
    f"{HERE}:added",
    inputs_of={"one": {"model": "m/a"}, "two": {"model": "m/b"}},
    partitions={"one": {}, "two": {}},
)
READER = Spec("m/reader", "s", f"{HERE}:added", {"model": "m/tokens[one]"})


def given(workdir: Path, inputs: Any, recipe: Mapping[str, Any], execution: Any) -> Output:
    return Output({"rows_of": pa.table({"n": [recipe["n"]]})})


def added(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Any
) -> Output:
    rows = inputs["model"].table("rows_of")["n"].to_pylist()
    return Output({"rows_of": pa.table({"n": [row + 10 for row in rows]})})


def test_each_partition_reads_its_own_and_a_reader_one(tmp_path: Path) -> None:
    store, code = Store(tmp_path), Code("1")
    materialise(store, A, code)
    materialise(store, TOKENS, code, partition="one")  # m/b is not there yet
    assert not store.parts(TOKENS.key)
    materialise(store, B, code)
    materialise(store, TOKENS, code, partition="two")
    assert list(store.parts(TOKENS.key)) == ["one", "two"]
    read = materialise(store, READER, code)
    assert read.table("rows_of")["n"].to_pylist() == [20]
    assert [entry["partition"] for entry in read.manifest["inputs"].values()] == ["one"]
    assert READER.reads() == ["m/tokens"] and TOKENS.reads() == ["m/a", "m/b"]


def test_what_is_new_for_one_leaves_the_other_and_its_reader_fresh(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def states(specs: list[Spec]) -> dict[str, str]:
        return {node.label: str(state.state) for node, state in states_of(store, specs)}

    from resources.store.building import code_of

    specs = [A, B, TOKENS, READER]
    for spec in specs:
        for partition in spec.slices():
            materialise(store, spec, code_of(spec), partition=partition)
    assert set(states(specs).values()) == {"fresh"}
    other = Spec("m/b", "s", f"{HERE}:given", recipe={"n": 5})
    found = states([A, other, TOKENS, READER])
    assert found["m/tokens[two]"] == "stale"
    assert found["m/tokens[one]"] == found["m/reader"] == "fresh"
