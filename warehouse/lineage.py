"""Lineage of assets and rows as trees: what something was made from, or what it went into.

Reads manifests and the `parents` columns; Dagster's database is not needed.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from warehouse.errors import WarehouseError
from warehouse.manifest import whole_version
from warehouse.rows import PARENTS, ROW_ID
from warehouse.store import Store

Manifest = Mapping[str, Any]
_TEXTS = ("question", "output", "response", "chosen", "reason", "evidence")  # shown of a row


@dataclass
class AssetNode:
    """One version of an asset in a tree; `again`: its own branches stand elsewhere already.

    A partitioned asset as a whole has its partitions as branches, and no memo key of its own.
    """

    asset_key: str
    partition: str | None
    data_version: str
    memo_key: str
    stage: str
    rows: int
    is_current: bool
    branches: list[AssetNode] = field(default_factory=list)
    again: bool = False


@dataclass
class RowNode:
    """One row in a tree: its id (hex), asset, version, table, and the values of plain columns."""

    row_id: str
    asset_key: str
    data_version: str
    table: str
    values: dict[str, Any] = field(default_factory=dict)
    branches: list[RowNode] = field(default_factory=list)
    again: bool = False

    @property
    def text(self) -> str:
        """The row's most telling text, or ""."""
        return next((str(self.values[n]) for n in _TEXTS if self.values.get(n)), "")


def is_row_id(text: str) -> bool:
    """Whether `text` can only be a row id (or a prefix of at least 6 hex digits)."""
    return 6 <= len(text) <= 32 and set(text) <= set("0123456789abcdef")


def asset_tree(store: Store, name: str, *, down: bool = False) -> AssetNode:
    """The tree of `KEY` (current version) or `KEY@VERSION`: ancestors, or with `down` descendants.

    `WarehouseError` when there is no such asset or version, or a prefix fits several.
    """
    key, _, version = name.partition("@")
    parts = store.parts(key, version)
    if not parts:
        known = sorted({m["asset_key"] for m in store.manifests()})
        near = [k for k in known if key in k or k.rpartition("/")[2] == key.rpartition("/")[2]]
        there = ", ".join((near or known)[:6]) or "nothing is built yet"
        raise WarehouseError(f"there is no current version of {key!r}; there is: {there}")
    walk = _AssetWalk(store, down, old=bool(version))
    made = [walk.node(artifact.memo_key) for artifact in parts.values()]
    if len(made) == 1:
        return made[0]
    versions = {str(n): artifact.data_version for n, artifact in parts.items()}
    return AssetNode(
        key,
        None,
        whole_version(versions),
        "",
        made[0].stage,
        sum(part.rows for part in made),
        all(part.is_current for part in made),
        made,
    )


class _AssetWalk:
    """Manifests as nodes, up to inputs or down to what was made; `old`: also not current ones."""

    def __init__(self, store: Store, down: bool, old: bool) -> None:
        self.down, self.old = down, old
        self.manifests = {m["memo_key"]: m for m in store.manifests()}
        self.current = {m["memo_key"] for m in store.currents().values()}
        self.children: dict[str, list[str]] = {}
        for memo, manifest in self.manifests.items():
            for parent in manifest["inputs"].values():
                self.children.setdefault(parent["memo_key"], []).append(memo)
        self.seen: set[str] = set()
        self.siblings: dict[str, set[frozenset[str]]] = {}

    def towards(self, memo: str) -> list[str]:
        """The memo keys one step further on."""
        if self.down:
            made = sorted(set(self.children.get(memo, [])))
            return [each for each in made if each in self.current or self.old]
        return [parent["memo_key"] for parent in self.manifests[memo]["inputs"].values()]

    def node(self, memo: str) -> AssetNode:
        """A version with its branches, where these do not stand in the tree already."""
        manifest = self.manifests[memo]
        further = frozenset(self.towards(memo))
        if manifest["partition"] is not None and memo not in self.seen:
            # Partitions share their inputs: the branches of one stand for those of the others.
            shown = self.siblings.setdefault(manifest["asset_key"], set())
            if further in shown:
                self.seen.add(memo)
            shown.add(further)
        made = AssetNode(
            manifest["asset_key"],
            manifest["partition"],
            manifest["data_version"],
            memo,
            manifest["stage"],
            manifest["rows"],
            memo in self.current,
            again=memo in self.seen,
        )
        if not made.again:
            self.seen.add(memo)
            made.branches = [self.node(m) for m in self.towards(memo) if m in self.manifests]
        return made


def row_tree(store: Store, row_id: str, *, down: bool = False, limit: int = 1000) -> RowNode:
    """The tree of a row (hex id or unique prefix): rows it was made from, or `down` made from it.

    At most `limit` rows. Current versions are searched first, then all others. `WarehouseError`
    when no row has this id.
    """
    finder = _Finder(store)
    matching = finder.find(row_id, None)
    if not matching:
        raise WarehouseError(f"no row of {store.home} has an id that starts with {row_id}")
    names = sorted({node.row_id for node, _ in matching})
    if len(names) > 1:
        raise WarehouseError(f"{row_id} fits several rows: {', '.join(names[:4])}")
    seen: set[str] = set()
    index = _children(store) if down else {}

    def grow(node: RowNode, parents: list[dict[str, Any]]) -> RowNode:
        if node.row_id in seen:
            node.again = True
            return node
        seen.add(node.row_id)
        above = [(p["row_id"].hex(), p["asset_key"]) for p in parents]
        for other, key in index.get(node.row_id, []) if down else above:
            if len(seen) >= limit:
                break
            node.branches += [grow(*found) for found in finder.find(other, key)[:1]]
        return node

    return grow(*matching[0])


def example_row(store: Store, name: str) -> RowNode | None:
    """The tree of one row that an asset holds, or else that one of its ancestors holds.

    Shows how a checkpoint leads down to a row it was trained on. None when no ancestor has rows.
    """
    waiting = [asset_tree(store, name)]
    while waiting:
        node = waiting.pop(0)
        artifact = store.memo(node.memo_key)
        for table, entry in [] if artifact is None else artifact.manifest["tables"].items():
            if _traced(entry) and entry["rows"] and artifact is not None:
                rows = next(artifact.batches(table, ["row_id", "parents"], 1024)).to_pylist()
                traced = next((row for row in rows if row["parents"]), None)
                if traced is not None:
                    return row_tree(store, traced["row_id"].hex())
        waiting.extend(node.branches)
    return None


def _traced(entry: Mapping[str, Any]) -> bool:
    kinds = dict(entry["columns"])
    return kinds.get("row_id") == str(ROW_ID) and kinds.get("parents") == str(PARENTS)


class _Finder:
    """Finds rows by id; reads only parts that may hold them, each once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        currents = list(store.currents().values())
        shown = {manifest["memo_key"] for manifest in currents}
        others = [m for m in store.manifests() if m["memo_key"] not in shown]
        self.groups = (currents, others)
        self.part = functools.lru_cache(maxsize=64)(self._part)

    def find(self, prefix: str, key: str | None) -> list[tuple[RowNode, list[dict[str, Any]]]]:
        """Rows whose id starts so, with their parents: of current versions, else of any.

        `key` is the asset they stand in; None, or when that asset has no such row: any asset.
        """
        for manifests in self.groups:
            found = list(
                self._among([m for m in manifests if key in (None, m["asset_key"])], prefix)
            )
            if found:
                return found
        return [] if key is None else self.find(prefix, None)

    def _among(
        self, manifests: list[dict[str, Any]], prefix: str
    ) -> Iterator[tuple[RowNode, list[dict[str, Any]]]]:
        low, high = prefix.ljust(32, "0"), prefix.ljust(32, "f")
        for manifest in manifests:
            for name, entry in manifest["tables"].items():
                for part in entry["parts"]:
                    if "first" not in part or part["first"] > high or part["last"] < low:
                        continue
                    ids, table = self.part(
                        part["sha256"], f"table {name!r} of {manifest['asset_key']}"
                    )
                    start = bisect.bisect_left(ids, bytes.fromhex(low))
                    stop = bisect.bisect_right(ids, bytes.fromhex(high))
                    for row in table.slice(start, stop - start).to_pylist():
                        parents = row.pop("parents", None) or []
                        identity = row.pop("row_id").hex()
                        values = {k: v.hex() if isinstance(v, bytes) else v for k, v in row.items()}
                        yield (
                            RowNode(
                                identity,
                                manifest["asset_key"],
                                manifest["data_version"],
                                name,
                                values,
                            ),
                            parents,
                        )

    def _part(self, digest: str, what: str) -> tuple[list[bytes], pa.Table]:
        """One part's ids, in order, and its rows."""
        entry = {"columns": [], "parts": [{"sha256": digest}]}
        table = self.store.lake.table(entry, what)
        return table.column("row_id").to_pylist(), table


def _children(store: Store) -> dict[str, list[tuple[str, str]]]:
    """Parent row id → (id, asset key) of the rows made from it, over the current versions."""
    found: dict[str, list[tuple[str, str]]] = {}
    for manifest in store.currents().values():
        for name, entry in manifest["tables"].items():
            if not _traced(entry):
                continue
            what = f"table {name!r} of {manifest['asset_key']}"
            for row in store.lake.table(entry, what, ["row_id", "parents"]).to_pylist():
                for parent in row["parents"] or []:
                    made = (row["row_id"].hex(), manifest["asset_key"])
                    found.setdefault(parent["row_id"].hex(), []).append(made)
    return found
