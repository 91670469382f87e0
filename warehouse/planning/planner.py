"""The planner: which assets are fresh, stale or missing, and why.

Pure comparison of what would be built now with the manifests of what was built; it propagates
through the whole graph, hashes no files and builds nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from warehouse.errors import WarehouseError
from warehouse.manifest import label, memo_key, plain
from warehouse.planning.equivalence import Former, former_memos, stands_for

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Node:
    """One asset, or one partition of it, as it would be built now: all that its memo key is of.

    An input that is a partition has the argument name `name@partition`.
    """

    key: str
    inputs: Mapping[str, str]  # argument name -> label of an asset or of a partition
    code_version: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    observed: Mapping[str, str] = field(default_factory=dict)
    code_modules: Mapping[str, str] = field(default_factory=dict)
    partition: str | None = None
    formers: tuple[Former, ...] = ()  # code versions that make the same content

    @property
    def label(self) -> str:
        """Key and partition in one word: what names the node among all."""
        return label(self.key, self.partition)


@dataclass(frozen=True)
class State:
    """What the planner found about one asset or partition.

    `memo_key` is None while an input's next version is unknown. `data_version` is the current
    version's, `next_version` the one after a run where that is known without building.
    `restorable`: a run only moves the pointer. `stands`: it would be fresh, or restorable, if the
    inputs that are to be made came out as they are.
    """

    key: str
    state: Literal["fresh", "stale", "missing"]
    why: str
    memo_key: str | None
    data_version: str | None
    next_version: str | None
    restorable: bool
    manifest: Manifest | None
    changes: tuple[str, ...] = ()  # what differs from the current version, one entry a cause
    partition: str | None = None
    # The memo key of the version that equivalent code made of the same, and that code's entry.
    equal: tuple[str, Former] | None = None
    former_memos: tuple[str, ...] = ()  # under which equivalent code would have begun the same
    stands: bool = False


def ordered(nodes: Sequence[Node]) -> list[Node]:
    """The nodes, inputs first, otherwise as given; WarehouseError on unknown inputs and cycles."""
    by_key = {node.label: node for node in nodes}
    if len(by_key) != len(nodes):
        twice = next(n.label for n in nodes if sum(m.label == n.label for m in nodes) > 1)
        raise WarehouseError(f"asset {twice} is defined twice")
    for node in nodes:
        for key in node.inputs.values():
            if key not in by_key:
                raise WarehouseError(f"asset {node.label} needs {key}, which is not defined")
    inputs = {node.label: list(node.inputs.values()) for node in nodes}
    return [by_key[key] for key in inputs_first(inputs)]


def inputs_first(inputs: Mapping[str, Collection[str]]) -> list[str]:
    """The keys, each after its inputs, otherwise as given. WarehouseError, with it, on a cycle."""
    sorter = TopologicalSorter(inputs)
    try:
        sorter.prepare()
    except CycleError as error:
        raise WarehouseError(f"assets depend on themselves: {' → '.join(error.args[1])}") from error
    places = {key: place for place, key in enumerate(inputs)}
    keys, ready, found = list(inputs), list[int](), list[str]()
    while sorter.is_active():
        for key in sorter.get_ready():
            heapq.heappush(ready, places[key])
        found.append(keys[heapq.heappop(ready)])
        sorter.done(found[-1])
    return found


def plan(
    nodes: Sequence[Node],
    current: Callable[[str, str | None], Manifest | None],
    resolve: Callable[[str], Manifest | None],
    damage: Callable[[Manifest], str | None] = lambda manifest: None,
    whole: Callable[[str], Mapping[str, str]] | None = None,
    versions: Callable[[str, str | None], Sequence[Manifest]] = lambda key, partition: (),
) -> list[State]:
    """The state of every node, in the order given.

    `current` gives the current manifest of an asset or partition, `resolve` the manifest a memo
    key stands for (built or accepted), `damage` what of a manifest's content is gone, `whole` the
    memo key of each partition of what readers see of a partitioned asset (None: not asked),
    `versions` all manifests of an asset or partition, asked for only where code has formers.
    """
    states: dict[str, State] = {}
    waiting = Counter(node.key for node in nodes)
    siblings: dict[str, list[str]] = {}
    for node in ordered(nodes):
        state = _state(node, states, current, resolve, damage, versions)
        states[node.label] = replace(state, partition=node.partition)
        waiting[node.key] -= 1
        siblings.setdefault(node.key, []).append(node.label)
        if node.partition is not None and whole is not None and not waiting[node.key]:
            parts = [states[name] for name in siblings[node.key]]
            states[node.label] = _as_a_whole(parts, whole(node.key))
    return [states[node.label] for node in nodes]


def _as_a_whole(parts: Sequence[State], shown: Mapping[str, str]) -> State:
    """The last partition's state: fresh partitions that readers do not see ask for a restore."""
    memos = {part.partition: (part.manifest or {}).get("memo_key") for part in parts}
    if memos == shown or any(part.state != "fresh" for part in parts):
        return parts[-1]
    why = "restorable: its partitions are not current as a whole"
    return replace(parts[-1], state="stale", restorable=True, why=why)


def _state(
    node: Node,
    states: Mapping[str, State],
    current: Callable[[str, str | None], Manifest | None],
    resolve: Callable[[str], Manifest | None],
    damage: Callable[[Manifest], str | None],
    built: Callable[[str, str | None], Sequence[Manifest]],
) -> State:
    now = current(node.key, node.partition)
    versions = {name: states[parent].next_version for name, parent in node.inputs.items()}
    broken = damage(now) if now is not None else None
    if now is not None and broken is not None:
        memo = _memo(node, versions)
        return State(node.key, "missing", broken, memo, None, None, False, now)
    waiting = [parent for parent in node.inputs.values() if states[parent].next_version is None]
    if waiting:
        first = next((p for p in waiting if states[p].state != "fresh"), waiting[0])
        upstream = f"upstream {first} is {states[first].state}"
        if now is None:
            return State(node.key, "missing", "never built", None, None, None, False, None)
        same = {
            name: version or states[node.inputs[name]].data_version
            for name, version in versions.items()
        }
        known = {name: version for name, version in same.items() if version is not None}
        found = state_of(node, known, now, resolve, damage, built) if known == same else None
        stands = found is not None and (found.state == "fresh" or found.restorable)
        # Equivalent code is no cause, though the table's word counts only once inputs are known.
        fresh = found is not None and found.state == "fresh"
        causes = (*(() if fresh else _differences(node, now, versions)), upstream)
        version = str(now["data_version"])
        return State(
            node.key,
            "stale",
            "; ".join(causes),
            None,
            version,
            None,
            False,
            now,
            causes,
            stands=stands,
        )
    settled = {name: version for name, version in versions.items() if version is not None}
    return state_of(node, settled, now, resolve, damage, built)


def state_of(
    node: Node,
    versions: Mapping[str, str],
    now: Manifest | None,
    resolve: Callable[[str], Manifest | None],
    damage: Callable[[Manifest], str | None],
    built: Callable[[str, str | None], Sequence[Manifest]],
) -> State:
    """The state of a node whose inputs have these versions (argument name → data version).

    `now` is its current version; the functions are those of `plan`.
    """
    version = None if now is None else str(now["data_version"])
    memo = _memo(node, versions)
    known = resolve(memo) if memo is not None else None
    if known is not None and damage(known) is not None:
        known = None
    equal: tuple[str, Former] | None = None
    memos: tuple[str, ...] = ()
    if known is None and node.formers:
        known, former, memos = _by_former_code(node, versions, now, built, damage)
        equal = (known["memo_key"], former) if known is not None and former is not None else None
    if known is not None and now is not None and known["memo_key"] == now["memo_key"]:
        return State(node.key, "fresh", "", memo, version, version, False, now, equal=equal)
    causes = tuple(_differences(node, now, versions)) if now is not None else ()
    why = "; ".join(causes)
    if known is not None:
        why = f"restorable: {why}" if why else "restorable"
        after = str(known["data_version"])
        return State(node.key, "stale", why, memo, version, after, True, now, causes, equal=equal)
    if now is None:
        why, version = "never built", None
    return State(
        node.key,
        "missing" if now is None else "stale",
        why or "its memo key changed",
        memo,
        version,
        None,
        False,
        now,
        causes,
        former_memos=memos,
    )


def _by_former_code(
    node: Node,
    versions: Mapping[str, str],
    now: Manifest | None,
    built: Callable[[str, str | None], Sequence[Manifest]],
    damage: Callable[[Manifest], str | None],
) -> tuple[Manifest | None, Former | None, tuple[str, ...]]:
    """What equivalent code built for the node and which code; else where it would have begun to."""
    made = [each for each in built(node.key, node.partition) if damage(each) is None]
    if now is not None:
        made.sort(key=lambda each: each["memo_key"] != now["memo_key"])
    found = stands_for(
        node.formers,
        made,
        recipe=node.recipe,
        seed=node.seed,
        inputs=versions,
        observed=node.observed,
    )
    if found is not None:
        return *found, ()
    memos = former_memos(
        node.formers,
        key=node.key,
        partition=node.partition,
        recipe=node.recipe,
        seed=node.seed,
        inputs=versions,
        observed=node.observed,
    )
    return None, None, tuple(memos)


def _memo(node: Node, versions: Mapping[str, str | None] | Mapping[str, str]) -> str | None:
    known = {name: version for name, version in versions.items() if version is not None}
    if len(known) != len(versions):
        return None
    return memo_key(
        node.key,
        node.partition,
        node.code_version,
        node.recipe,
        node.seed,
        known,
        node.observed,
    )


def _differences(
    node: Node, built: Manifest, versions: Mapping[str, str | None] | Mapping[str, str]
) -> list[str]:
    """What differs between a built version and what would be built now, in words."""
    found = []
    if node.code_version != built["code_version"]:
        found.append(_code(node, built))
    changes = list(compare(built["recipe"], plain(dict(node.recipe))))
    if changes:
        found.append("recipe: " + ", ".join(changes))
    if node.seed != built["seed"]:
        found.append(f"seed: {built['seed']} → {node.seed}")
    for name in sorted(set(node.observed) | set(built["observed"])):
        if node.observed.get(name) != built["observed"].get(name):
            found.append(f"file changed: {name}")
    return found + _inputs(node, built, versions)


def _inputs(
    node: Node, built: Manifest, versions: Mapping[str, str | None] | Mapping[str, str]
) -> list[str]:
    """What differs in the inputs; partitions of one input in one entry."""
    found: list[str] = []
    moved: dict[str, list[str]] = {}
    before = built["inputs"]
    for name in sorted(set(node.inputs) | set(before)):
        old = before.get(name, {})
        was, now = label(old.get("asset_key", ""), old.get("partition")), node.inputs.get(name)
        if now is None:
            cause = f"input {name} ({was}) is gone"
        elif not old:
            cause = f"new input {name}: {now}"
        elif versions.get(name) not in (None, old["data_version"]):
            cause = f"input {now}: {old['data_version'][:8]} → {str(versions[name])[:8]}"
        elif now != was:
            cause = f"input {name}: {was} → {now}"
        else:
            continue
        argument, _, partition = name.partition("@")
        if partition:
            moved.setdefault(argument, []).append(partition)
        else:
            found.append(cause)
    return found + [f"input {name}: {few(names)} changed" for name, names in moved.items()]


def _code(node: Node, built: Manifest) -> str:
    old, new = built.get("code_modules") or {}, node.code_modules
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if not old or not new or not names:
        return f"code: {_short(built['code_version'])} → {_short(node.code_version)}"
    return "code: " + few(names)


def few(names: Sequence[str]) -> str:
    """At most four of the names, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")


def _short(version: str) -> str:
    return version[:8] if len(version) == 64 else version


def compare(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The differences of two JSON values, key by key: `learning_rate 1e-4 → 2e-4`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            inside = f"{path}.{key}" if path else str(key)
            if key not in new:
                yield f"{inside} {show(old[key])} removed"
            elif key not in old:
                yield f"{inside} {show(new[key])} added"
            else:
                yield from compare(old[key], new[key], inside)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from compare(left, right, f"{path}[{index}]")
    elif type(old) is not type(new) or old != new:
        yield f"{path} {show(old)} → {show(new)}".strip()


def show(value: Any) -> str:
    """A JSON value in few characters: `1e-4`, `"kl"`, `[1, 2, 3]`."""
    if isinstance(value, float) and value and abs(value) < 0.01:
        text = repr(value)
        mantissa, _, exponent = f"{value:.15e}".partition("e")
        short = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return short if float(short) == value else text
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{k}: {show(v)}" for k, v in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(show(v) for v in value) + "]"
    else:
        text = "none" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "…"
