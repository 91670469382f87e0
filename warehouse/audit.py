"""A home's stored bytes against the hashes on record, every file read once and anew.

Reads only. What is damaged is named with the versions that need it; mending is the reader's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from warehouse.errors import WarehouseError, explained
from warehouse.files.filesystem import CHUNK
from warehouse.manifest import data_version, label
from warehouse.store import Store


@dataclass
class Audit:
    """What was read (versions, files, bytes), and one line for each thing that is damaged."""

    versions: int = 0
    files: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)


def audit(store: Store, key: str = "", version_prefix: str = "") -> Audit:
    """Compare all versions of the home, or of one asset or partition, with their hashes.

    `key` is an asset key or the label of a partition; a prefix of the data version narrows it.
    """
    found = Audit()
    manifests = _manifests(store, found)
    if not key:
        found.damaged += _lost_pointers(store)
    wanted = [each for each in manifests if _meant(each, key, version_prefix)]
    found.versions = len(wanted)
    needed: dict[str, tuple[str, int, list[str]]] = {}
    for manifest in wanted:
        name = f"{label(manifest['asset_key'], manifest['partition'])}"
        name += f"@{manifest['data_version'][:12]}"
        if data_version(manifest["tables"], manifest["files"]) != manifest["data_version"]:
            where = store.files.where(f"manifests/{manifest['memo_key']}.json")
            found.damaged.append(
                f"{where}: {name} is changed: data_version is not that of its tables and files; "
                "delete that file and run again to rebuild it"
            )
        for path, digest, size, what in _listed(store, manifest):
            needed.setdefault(path, (digest, size, []))[2].append(f"{what} of {name}")
    for path, (digest, size, users) in sorted(needed.items()):
        found.files += 1
        found.bytes += size
        problem = _problem(store, path, digest)
        if problem:
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            found.damaged.append(f"{store.files.where(path)}: {users[0]}{more} {problem}")
    return found


def _manifests(store: Store, found: Audit) -> list[dict[str, Any]]:
    """The readable manifests; one that is not becomes a line of `found`."""
    read = []
    for entry in store.files.entries("manifests", ".json"):
        try:
            manifest = store.document(entry.path)
        except WarehouseError as error:
            found.damaged.append(str(error))
            continue
        if manifest is not None:
            read.append(manifest)
    return read


def _lost_pointers(store: Store) -> Iterator[str]:
    """A line for each pointer of a current version that is unreadable or leads nowhere."""
    for entry in store.files.entries("current", ".json"):
        where = store.files.where(entry.path)
        try:
            record = store.document(entry.path) or {}
        except WarehouseError as error:
            yield str(error)
            continue
        memos: Iterable[str] = record.get("partitions", {0: record.get("memo_key")}).values()
        if any(store.files.entry(f"manifests/{memo}.json") is None for memo in memos):
            yield f"{where}: the version it names is gone; run again to rebuild it"


def _meant(manifest: Mapping[str, Any], key: str, version_prefix: str) -> bool:
    names = ("", manifest["asset_key"], label(manifest["asset_key"], manifest["partition"]))
    return key in names and manifest["data_version"].startswith(version_prefix)


def _listed(store: Store, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, int, str]]:
    """Every stored file of a version: path in the home, SHA-256, bytes, what it is."""
    for name, table in manifest["tables"].items():
        for part in table["parts"]:
            yield store.lake.address(part["sha256"]), part["sha256"], part["bytes"], f"table {name}"
    for kind in ("files", "images"):
        for name, entry in manifest[kind].items():
            digest = entry["sha256"]
            what = f"{kind.removesuffix('s')} {name}"
            yield store.checkpoints.address(digest), digest, entry["bytes"], what


def _problem(store: Store, path: str, digest: str) -> str:
    """What is wrong with a stored file, and what to do; empty where it is sound."""
    if store.files.entry(path) is None:
        return "is gone; run again to rebuild it"
    read = hashlib.sha256()
    try:
        with explained("read it"), store.files.open(path) as source:
            while block := source.read(CHUNK):
                read.update(block)
    except WarehouseError as error:
        return f"cannot be read: {error}"
    if read.hexdigest() != digest:
        return (
            f"is damaged (its SHA-256 is not {digest[:12]}…); "
            "delete that file and run again to rebuild it"
        )
    return ""
