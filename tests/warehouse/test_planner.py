"""The planner: transitive states with their reasons, and acceptance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.artifact import Artifact, Output
from warehouse.errors import WarehouseError
from warehouse.manifest import label
from warehouse.planning.accept import accept
from warehouse.planning.planner import Node, State, compare, ordered, plan, show
from warehouse.store import Request, Store

Make = Callable[..., Artifact]


def states(store: Store, nodes: list[Node]) -> dict[str, State]:
    currents = store.currents()
    found = plan(nodes, lambda k, p: currents.get((k, p)), store.resolve, store.damage)
    return {state.key: state for state in found}


def run(store: Store, nodes: list[Node], content: Callable[[Node], str] = repr) -> list[str]:
    """Build what is not fresh, inputs first; returns what ran (restored ones do not)."""
    ran: list[str] = []
    for node in ordered(nodes):
        inputs = {name: store.current(key) for name, key in node.inputs.items()}

        def fn(workdir: Path, *_: Any, node: Node = node) -> Output:
            ran.append(node.key)
            path = workdir / "content"
            versions = [a.data_version for a in inputs.values() if a is not None]  # noqa: B023
            path.write_text(content(node) + "".join(versions))
            return Output(files={"content": path})

        store.build(
            Request(
                node.key,
                None,
                fn,
                inputs,
                node.recipe,
                node.seed,
                code_version=node.code_version,
                code_modules=node.code_modules,
                observed=node.observed,
            )
        )
    return ran


def line(lr: float = 1e-4, code: str = "c1", **modules: str) -> list[Node]:
    return [
        Node("p/data", {}, "d1"),
        Node(
            "s/sft",
            {"data": "p/data"},
            code,
            {"optimizer": {"learning_rate": lr}, "n": 1},
            code_modules=modules,
        ),
        Node("s/rl", {"start": "s/sft"}, "r1"),
        Node("s/other", {"data": "p/data"}, "o1"),
    ]


def test_missing_then_fresh_then_stale_with_reasons_then_restorable(store: Store) -> None:
    assert {s.state for s in states(store, line()).values()} == {"missing"}
    assert len(run(store, line())) == 4
    assert {s.state for s in states(store, line()).values()} == {"fresh"}

    found = states(store, line(2e-4))
    assert found["s/sft"].why == "recipe: optimizer.learning_rate 1e-4 → 2e-4"
    assert found["s/rl"].state == "stale" and found["s/rl"].why == "upstream s/sft is stale"
    assert found["s/other"].state == found["p/data"].state == "fresh"
    assert run(store, line(2e-4)) == ["s/sft", "s/rl"]

    back = states(store, line())
    assert back["s/sft"].restorable and back["s/sft"].why.startswith("restorable: recipe: ")
    assert back["s/rl"].restorable and "input s/sft: " in back["s/rl"].why
    assert run(store, line()) == []
    assert {s.state for s in states(store, line()).values()} == {"fresh"}


def test_code_changes_are_named_and_early_cut_off_works(store: Store) -> None:
    def constant(node: Node) -> str:
        return node.key

    run(store, line(a="1", b="1"), constant)
    found = states(store, line(code="c2", a="1", b="2"))
    assert found["s/sft"].why == "code: b"
    assert states(store, line(code="c2"))["s/sft"].why == "code: c1 → c2"
    assert found["s/rl"].state == "stale"
    # The same content comes out, so nothing downstream runs, and the plan then knows.
    assert run(store, line(code="c2"), constant) == ["s/sft"]
    assert states(store, line(code="c2"))["s/rl"].state == "fresh"
    # Back to the old code: only a pointer moves, and what is downstream stays fresh meanwhile.
    back = states(store, line())
    assert back["s/sft"].restorable and back["s/rl"].state == "fresh"


def test_observed_files_seeds_inputs_and_damage(store: Store) -> None:
    nodes = [Node("p/a", {}, "1", observed={"in.jsonl": "h1"}), Node("p/b", {"x": "p/a"}, "1")]
    run(store, nodes)
    changed = [Node("p/a", {}, "1", seed=3, observed={"in.jsonl": "h2"}), Node("p/b", {}, "1")]
    found = states(store, changed)
    assert found["p/a"].why == "seed: 0 → 3; file changed: in.jsonl"
    assert found["p/b"].why == "input x (p/a) is gone"
    manifest = store.current("p/a").manifest  # type: ignore[union-attr]
    blob = Path(store.home, store.checkpoints.address(manifest["files"]["content"]["sha256"]))
    blob.unlink()
    found = states(store, nodes)
    assert found["p/a"].state == "missing" and found["p/a"].why == f"{blob} is gone"
    assert found["p/b"].why == "upstream p/a is missing"


def test_accepting_a_change(store: Store) -> None:
    run(store, line())
    changed = line(2e-4, code="c2")
    found = states(store, changed)
    node = changed[1]
    with pytest.raises(WarehouseError, match="settle that asset first"):
        accept(store, changed[2], found["s/rl"], "no")
    with pytest.raises(WarehouseError, match="without a reason"):
        accept(store, node, found["s/sft"], " ")
    with pytest.raises(WarehouseError, match="p/data is fresh"):
        accept(store, changed[0], found["p/data"], "why not")
    record = accept(store, node, found["s/sft"], "only the log text moved")
    assert record["reason"] == "only the log text moved" and "learning_rate" in record["change"]
    assert {s.state for s in states(store, changed).values()} == {"fresh"}
    assert run(store, changed) == []
    assert [r["asset_key"] for r in store.acceptances()] == ["s/sft"]
    observed = [Node("p/data", {}, "d1", observed={"f": "h"}), *changed[1:]]
    with pytest.raises(WarehouseError, match="not only code or recipe changed"):
        accept(store, observed[0], states(store, observed)["p/data"], "really")


def test_unknown_inputs_and_cycles_are_refused() -> None:
    with pytest.raises(WarehouseError, match="asset a needs b, which is not defined"):
        ordered([Node("a", {"x": "b"}, "1")])
    with pytest.raises(WarehouseError, match=r"depend on themselves: a → b → a|b → a → b"):
        ordered([Node("a", {"x": "b"}, "1"), Node("b", {"x": "a"}, "1")])
    with pytest.raises(WarehouseError, match="a is defined twice"):
        ordered([Node("a", {}, "1"), Node("a", {}, "1")])


def test_differences_are_short_and_exact() -> None:
    assert list(compare({"a": [1, 2], "b": None}, {"a": [1, 3], "c": True})) == [
        "a[1] 2 → 3",
        "b none removed",
        "c True added",
    ]
    assert [show(v) for v in (1e-4, 3.5e-6, 0.05, "x", [1, "a"])] == [
        "1e-4",
        "3.5e-6",
        "0.05",
        "x",
        "[1, a]",
    ]
    assert len(show("y" * 500)) == 58


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shown_numbers_are_the_number(value: float) -> None:
    assert float(show(value)) == value


def grouped(count: int = 2, **slices: dict[str, Any]) -> list[Node]:
    names = [f"g{n}" for n in range(count)]
    return [
        Node("p/data", {}, "1"),
        *(
            Node("m/lib", {"data": "p/data"}, "1", {"n": 1, **slices.get(g, {})}, partition=g)
            for g in names
        ),
        Node("m/scores", {f"lib@{g}": f"m/lib[{g}]" for g in names} | {"data": "p/data"}, "1"),
        Node("m/other", {"data": "p/data"}, "1"),
    ]


def manifest_of(node: Node, state: State, current: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a build of the node would record."""
    found = {name: current[parent] for name, parent in node.inputs.items()}
    keys = ("asset_key", "partition", "data_version")
    return {
        "asset_key": node.key, "partition": node.partition, "memo_key": state.memo_key,
        "data_version": str(state.memo_key)[::-1], "recipe": dict(node.recipe), "seed": node.seed,
        "code_version": node.code_version, "observed": {},
        "inputs": {name: {key: made[key] for key in keys} for name, made in found.items()},
    }  # fmt: skip


class Ledger:
    """A home in memory: builds nodes, asks the planner."""

    def __init__(self) -> None:
        self.built: dict[str, dict[str, Any]] = {}
        self.heads: dict[str, dict[str, Any]] = {}
        self.shown: dict[str, dict[str, str]] = {}

    def look(self, nodes: list[Node]) -> dict[str, State]:
        found = plan(
            nodes,
            lambda key, partition: self.heads.get(label(key, partition)),
            self.built.get,
            whole=lambda key: self.shown.get(key, {}),
        )
        return {label(state.key, state.partition): state for state in found}

    def make(self, nodes: list[Node], only: set[str] | None = None) -> None:
        for node in ordered(nodes):
            state = self.look(nodes)[node.label]
            if only is None or node.label in only:
                made = self.built.get(str(state.memo_key)) or manifest_of(node, state, self.heads)
                self.built[made["memo_key"]] = self.heads[node.label] = made
        for key in {node.key for node in nodes if node.partition}:
            mine = [node for node in nodes if node.key == key]
            self.shown[key] = {
                str(n.partition): self.heads[n.label]["memo_key"]
                for n in mine
                if n.label in self.heads
            }


def test_a_changed_partition_makes_only_itself_and_what_reads_it_stale() -> None:
    home = Ledger()
    assert {s.state for s in home.look(grouped()).values()} == {"missing"}
    home.make(grouped())
    assert {s.state for s in home.look(grouped()).values()} == {"fresh"}
    changed = grouped(g1={"tokens": 5})
    found = {name: s.why for name, s in home.look(changed).items() if s.state != "fresh"}
    assert found == {
        "m/lib[g1]": "recipe: tokens 5 added", "m/scores": "upstream m/lib[g1] is stale"
    }  # fmt: skip
    home.make(changed, {"m/lib[g1]"})
    after = home.look(changed)
    assert after["m/scores"].why == "input lib: g1 changed" and after["m/lib[g1]"].state == "fresh"
    assert home.look(grouped())["m/lib[g1]"].restorable


def test_regrouped_partitions_and_their_readers() -> None:
    home = Ledger()
    home.make(grouped(6))
    states = home.look(grouped(7))
    assert states["m/lib[g6]"].state == "missing"
    assert {states[f"m/lib[g{n}]"].state for n in range(6)} == {"fresh"}
    assert states["m/scores"].why == "input lib: g6 changed; upstream m/lib[g6] is missing"
    home.make(grouped(7))
    why = home.look([grouped()[0], Node("m/scores", {}, "1")])["m/scores"].why
    assert why == "input data (p/data) is gone; input lib: g0, g1, g2, g3 and 3 more changed"


def test_fresh_partitions_that_readers_do_not_see_ask_for_a_restore() -> None:
    home = Ledger()
    home.make(grouped())
    home.shown["m/lib"] = {}
    states = home.look(grouped())
    assert states["m/lib[g0]"].state == "fresh"
    assert states["m/lib[g1]"].restorable and "as a whole" in states["m/lib[g1]"].why
    assert states["m/scores"].state == "fresh", "what it would read is known"
    stale = home.look(grouped(g1={"tokens": 5}))
    assert stale["m/lib[g1]"].why == "recipe: tokens 5 added"


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    count = draw(st.integers(1, 8))
    nodes = []
    for index in range(count):
        parents = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        inputs = {f"i{p}": f"k/{p}" for p in sorted(parents)}
        nodes.append(Node(f"k/{index}", inputs, "1", {"x": 0}))
    return draw(st.permutations(nodes))


@given(graphs(), st.data())
@settings(max_examples=100, deadline=None)
def test_exactly_the_changed_and_what_depends_on_it_is_stale(
    nodes: list[Node], data: st.DataObject
) -> None:
    built: dict[str, dict[str, Any]] = {}
    current: dict[str, dict[str, Any]] = {}

    def look() -> dict[str, State]:
        found = plan(nodes, lambda k, p: current.get(k), built.get)
        assert [state.key for state in found] == [node.key for node in nodes]
        return {state.key: state for state in found}

    def run_all() -> int:
        made = 0
        for node in ordered(nodes):
            state = look()[node.key]
            memo = state.memo_key
            assert memo is not None
            if memo not in built:
                made += 1
                built[memo] = {
                    "memo_key": memo, "data_version": memo[::-1], "recipe": dict(node.recipe),
                    "code_version": node.code_version, "seed": node.seed, "observed": {},
                    "inputs": {
                        name: {"data_version": current[key]["data_version"], "asset_key": key}
                        for name, key in node.inputs.items()
                    },
                }  # fmt: skip
            current[node.key] = built[memo]
        return made

    assert {state.state for state in look().values()} == {"missing"}
    assert run_all() == len(nodes)
    assert {state.state for state in look().values()} == {"fresh"}
    before = nodes
    target = data.draw(st.sampled_from(nodes)).key
    nodes = [
        Node(n.key, n.inputs, n.code_version, {"x": 1} if n.key == target else n.recipe)
        for n in nodes
    ]
    affected = {target}
    for node in ordered(nodes):
        if affected & set(node.inputs.values()):
            affected.add(node.key)
    assert {key for key, state in look().items() if state.state == "stale"} == affected
    assert run_all() == len(affected)
    assert {state.state for state in look().values()} == {"fresh"}
    nodes = before
    assert {key for key, state in look().items() if state.restorable} == affected
    assert run_all() == 0
