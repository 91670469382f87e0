"""The table of equivalence: what was built by former code stands for what would be built now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.test_planner import run
from warehouse.errors import WarehouseError
from warehouse.planning.accept import record_equal
from warehouse.planning.equivalence import Equivalence, Former
from warehouse.planning.planner import Node, State, plan
from warehouse.store import Output, Request, Store
from warehouse.unfinished import folder_of, others, take_up

THEN = Node("p/data", {}, "old", {"rows": {"count": 2}, "seed": 1})
READER = Node("s/sft", {"corpus": "p/data"}, "r1", {"rate": 1.0})


def states(store: Store, nodes: list[Node]) -> dict[str, State]:
    heads = store.heads()
    found = plan(
        nodes,
        lambda k, p: heads.get((k, p)),
        store.resolve,
        store.damage,
        versions=store.versions,
    )
    return {state.key: state for state in found}


def moved(code: str, **names: Any) -> tuple[Former, ...]:
    return (Former(code, reason="moved", **names),)


def test_equivalent_code_is_fresh_and_so_is_what_reads_it(store: Store) -> None:
    run(store, [THEN, READER])
    now = [replace(THEN, code_version="new", formers=moved("old")), READER]
    found = states(store, now)
    assert [found[key].state for key in ("p/data", "s/sft")] == ["fresh", "fresh"]
    assert found["p/data"].equal is not None
    record_equal(store, now[0], found["p/data"])
    (record,) = store.acceptances()
    assert record["reason"] == "table of equivalence: moved"
    # Recorded: from now on the home needs no table.
    assert states(store, [replace(now[0], formers=()), READER])["p/data"].state == "fresh"
    assert run(store, now) == []


def test_what_stands_if_its_inputs_come_out_as_they_are_is_known_before(store: Store) -> None:
    run(store, [THEN, READER])
    input_code = replace(THEN, code_version="new")  # nobody says that it is equivalent
    now = [input_code, replace(READER, code_version="r2", formers=moved("r1"))]
    found = states(store, now)
    assert not found["p/data"].stands
    assert found["s/sft"].stands and found["s/sft"].why == "upstream p/data is stale"
    other = replace(now[1], recipe={"rate": 2.0})
    assert not states(store, [input_code, other])["s/sft"].stands
    assert states(store, [input_code, other])["s/sft"].why.startswith("code: r1 → r2; recipe: rate")
    assert not states(store, [input_code, replace(READER, code_version="r2")])["s/sft"].stands
    run(store, [input_code], content=lambda node: repr(THEN))  # as it was
    assert states(store, now)["s/sft"].state == "fresh"


def test_names_of_then_are_understood(store: Store) -> None:
    run(store, [THEN, READER])
    former = moved("old", recipe={"amount": "rows.count"})
    reader = moved("r1", inputs={"text": "corpus"}, recipe={"optimizer.rate": "rate"})
    now = [
        replace(
            THEN, code_version="new", formers=former, recipe={"amount": 2, "rows": {}, "seed": 1}
        ),
        Node(
            "s/sft",
            {"text": "p/data"},
            "r2",
            {"optimizer": {"rate": 1.0}},
            formers=reader,
        ),
    ]
    assert states(store, now)["p/data"].state == "fresh"
    found = states(store, now)["s/sft"]
    assert found.state == "stale"  # the empty section stands in the slice, then it did not
    now[1] = replace(
        now[1],
        recipe={"rate2": 1.0},
        formers=moved("r1", inputs={"text": "corpus"}, recipe={"rate2": "rate"}),
    )
    assert states(store, now)["s/sft"].state == "fresh"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 3},
        {"recipe": {"rows": {"count": 3}, "seed": 1}},
        {"observed": {"file": "aa"}},
        {"formers": moved("another")},
        {"formers": ()},
    ],
)
def test_what_really_changed_stays_stale(store: Store, change: dict[str, Any]) -> None:
    run(store, [THEN])
    now = replace(THEN, code_version="new", formers=moved("old"))
    assert states(store, [replace(now, **change)])["p/data"].state == "stale"


def test_another_content_of_an_input_stays_stale(store: Store) -> None:
    run(store, [THEN, READER])
    run(store, [replace(THEN, recipe={})])
    now = replace(READER, code_version="r2", formers=moved("r1"))
    assert states(store, [replace(THEN, recipe={}), now])["s/sft"].state == "stale"


def test_an_earlier_version_is_restored(store: Store) -> None:
    run(store, [THEN])
    run(store, [replace(THEN, recipe={})])
    now = replace(THEN, code_version="new", formers=moved("old"))
    found = states(store, [now])["p/data"]
    assert found.state == "stale" and found.restorable
    record_equal(store, now, found)
    assert run(store, [now]) == [] and states(store, [now])["p/data"].state == "fresh"


def test_work_that_former_code_began_is_taken_up(store: Store, tmp_path: Path) -> None:
    def killed(workdir: Path, *_: Any) -> Output:
        (workdir / "half").write_text("done")
        raise KeyboardInterrupt

    def goes_on(workdir: Path, *_: Any) -> Output:
        assert (workdir / "half").read_text() == "done"
        return Output(files={"content": workdir / "half"})

    with pytest.raises(KeyboardInterrupt):
        store.build(Request("p/data", None, killed, {}, THEN.recipe, 0, code_version="old"))
    now = replace(THEN, code_version="new", formers=moved("old"))
    found = states(store, [now])["p/data"]
    assert found.state == "missing" and len(found.former_memos) == 1
    store.build(
        Request("p/data", None, goes_on, {}, THEN.recipe, 0, code_version="new"),
        former_memos=found.former_memos,
    )
    assert not list((store.scratch / "work").iterdir())


def test_work_folders_say_whose_they_are(tmp_path: Path) -> None:
    memo, other = "ab" * 32, "cd" * 32
    (tmp_path / "work" / memo).mkdir(parents=True)  # as they were named once
    folder = take_up(tmp_path, "super/sft", None, memo)
    assert folder == folder_of(tmp_path, "super/sft", None, memo) and folder.is_dir()
    assert not (tmp_path / "work" / memo).exists()
    take_up(tmp_path, "nano/sft", None, other)
    assert [path.name.partition("@")[0] for path in others(tmp_path, [memo])] == ["nano.sft"]


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = Equivalence({"a:b": [Former("1"), Former("2", "moved", {"x": "y"}, {"p": "q"})]})
    table.write(tmp_path / "table.json")
    assert Equivalence.read(tmp_path / "table.json").classes == table.classes
    assert [each.code for each in table.formers("a:b", "2")] == ["1"]
    assert table.formers("a:b", "3") == () and table.formers("c:d", "1") == ()
    assert Equivalence.read(tmp_path / "absent.json").classes == {}
    (tmp_path / "bad.json").write_text(json.dumps({"a:b": [{"code": "1", "why": "?"}]}))
    with pytest.raises(WarehouseError, match=r"a:b: unknown why; an entry has code, reason"):
        Equivalence.read(tmp_path / "bad.json")
