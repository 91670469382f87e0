"""Acceptance: a code or recipe change declared immaterial, on the record, with its reason.

Knows plans and manifests; whether a change is immaterial is the caller's word.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from warehouse.errors import WarehouseError
from warehouse.planning.planner import Manifest, Node, State
from warehouse.store import Store


def acceptable(node: Node, state: State, reason: str) -> Manifest:
    """The manifest of the current version, where it may stand for what would be built now.

    `state` is the planner's for `node`. `WarehouseError` when there is nothing to accept, when an
    input or an observed file changed (that is not a change of code or recipe), or without a
    reason.
    """
    if not reason.strip():
        raise WarehouseError(f"cannot accept {node.label} without a reason")
    if state.state == "fresh":
        raise WarehouseError(f"{node.label} is fresh, there is nothing to accept")
    if state.manifest is None or state.state == "missing":
        raise WarehouseError(f"{node.label} is {state.state} ({state.why}), build it first")
    if state.memo_key is None:
        raise WarehouseError(
            f"cannot accept {node.label} yet: {state.why}; settle that asset first"
        )
    if state.restorable:
        raise WarehouseError(f"{node.label} can be restored without building; run it instead")
    outside = [cause for cause in state.changes if not cause.startswith(("code:", "recipe:"))]
    if outside:
        raise WarehouseError(
            f"cannot accept {node.label}: not only code or recipe changed ({'; '.join(outside)})"
        )
    return state.manifest


def accept(store: Store, node: Node, state: State, reason: str) -> dict[str, Any]:
    """Let the current version of `node` stand for what would be built now; returns the record.

    `WarehouseError` where that is not `acceptable`.
    """
    current = acceptable(node, state, reason)
    return _record(store, node, state, current, state.why, reason.strip())


def record_equal(store: Store, node: Node, state: State) -> None:
    """Record what the table of equivalence says of a node whose state is `equal` to a version.

    A home that cannot be written stays as it is: the table says the same the next time.
    """
    if state.equal is None:
        raise WarehouseError(f"{node.label}: no version of former code stands for it")
    memo, former = state.equal
    made = store.document(f"manifests/{memo}.json")
    if made is not None:
        change = f"code: {made['code_version'][:8]} → {node.code_version[:8]}"
        with suppress(OSError, WarehouseError):
            _record(store, node, state, made, change, f"table of equivalence: {former.reason}")


def _record(
    store: Store, node: Node, state: State, accepted: Manifest, change: str, reason: str
) -> dict[str, Any]:
    record = {
        "format": 1,
        "asset_key": node.key,
        "partition": node.partition,
        "memo_key": state.memo_key,
        "accepts": accepted["memo_key"],
        "data_version": accepted["data_version"],
        "change": change,
        "reason": reason,
        "code_version": node.code_version,
        "code_modules": dict(node.code_modules),
        "recipe": dict(node.recipe),
        "accepted_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    store.files.write(f"accepted/{state.memo_key}.json", json.dumps(record, indent=1).encode())
    return record
