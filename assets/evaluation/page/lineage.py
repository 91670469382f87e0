"""The assets that a final model was made from, as a graph in columns.

Follows the manifests' inputs, version by version; knows no HTML and no recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from warehouse.store import Artifact, Store

Find = Callable[[str], Mapping[str, Any] | None]  # memo key -> manifest


@dataclass(frozen=True)
class Node:
    """An asset version: its stage, its column (0 is the final model) and the keys of its inputs."""

    key: str
    stage: str
    version: str
    column: int
    inputs: tuple[str, ...]


def finder(artifacts: Mapping[str, Artifact], home: str | None) -> Find:
    """Looks manifests up among `artifacts` first, then in the warehouse at `home`, if given."""
    known = {artifact.memo_key: artifact.manifest for artifact in artifacts.values()}
    store = Store(home) if home else None

    def find(memo_key: str) -> Mapping[str, Any] | None:
        if memo_key in known:
            return known[memo_key]
        found = store.memo(memo_key) if store is not None else None
        return None if found is None else found.manifest

    return find


def ancestry(final: Mapping[str, Any], find: Find) -> list[Node]:
    """The final asset and all its ancestors, final first; columns by longest distance to it.

    An input whose manifest cannot be found is shown as a source, without inputs of its own.
    """
    manifests: dict[str, Mapping[str, Any]] = {}
    inputs: dict[str, tuple[str, ...]] = {}

    def visit(manifest: Mapping[str, Any]) -> None:
        key = str(manifest["asset_key"])
        if key in inputs:
            return
        manifests[key] = manifest
        sources = manifest.get("inputs", {}).values()
        inputs[key] = tuple(sorted({str(source["asset_key"]) for source in sources}))
        for source in sources:
            found = find(source["memo_key"])
            visit(found if found is not None else {**source, "inputs": {}, "stage": ""})

    visit(final)
    columns = _columns(str(final["asset_key"]), inputs)
    nodes = [
        Node(
            key,
            str(manifest.get("stage") or key.split("/")[0]),
            str(manifest["data_version"])[:8],
            columns[key],
            reduced(key, inputs),
        )
        for key, manifest in manifests.items()
    ]
    return sorted(nodes, key=lambda node: (node.column, node.stage, node.key))


def _columns(final: str, inputs: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    columns = {final: 0}
    waiting = [final]
    while waiting:
        key = waiting.pop()
        for source in inputs[key]:
            if columns.get(source, -1) < columns[key] + 1:
                columns[source] = columns[key] + 1
                waiting.append(source)
    return columns


def reduced(key: str, inputs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The inputs of `key` that none of its other inputs descends from (fewer lines, same order)."""

    def ancestors(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for source in inputs[waiting.pop()]:
                if source not in seen:
                    seen.add(source)
                    waiting.append(source)
        return seen

    behind = set().union(*(ancestors(source) for source in inputs[key]))
    return tuple(source for source in inputs[key] if source not in behind)
