"""Collection of versions that nothing current or pinned needs, and of files that no version lists.

A version that a kept one was made from is kept too: lineage stays whole.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from warehouse.artifact import Artifact
from warehouse.errors import WarehouseError
from warehouse.files import locks
from warehouse.files.checkpoints import Checkpoints, listing_digest
from warehouse.files.filesystem import ASIDE
from warehouse.files.lake import Lake
from warehouse.manifest import label, stored
from warehouse.store import Store
from warehouse.unfinished import others

WORK_DAYS = 7  # unfinished work folders untouched for longer are removed
_MEMO_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass
class Collected:
    """What a collection removes: versions (asset, data version), files, bytes they take.

    An asset is named with its partition: `super/block_library[group_1]`.
    """

    versions: list[tuple[str, str]] = field(default_factory=list)
    files: int = 0
    bytes: int = 0


def pin(store: Store, artifact: Artifact, reason: str) -> None:
    """Keep a version, and what it was made from, until it is unpinned."""
    record = {
        "memo_key": artifact.memo_key,
        "asset_key": artifact.key,
        "reason": reason,
        "pinned_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    store.files.write(f"pins/{artifact.memo_key}.json", json.dumps(record).encode())


def unpin(store: Store, artifact: Artifact) -> None:
    """Let a pinned version go. `WarehouseError` where it is not pinned."""
    if store.files.entry(f"pins/{artifact.memo_key}.json") is None:
        raise WarehouseError(f"{artifact.label}@{artifact.data_version[:12]} is not pinned")
    store.files.delete(f"pins/{artifact.memo_key}.json")


def needed(store: Store) -> set[str]:
    """The memo keys of versions that are current, pinned, or an ancestor of such a one.

    A partition that is built counts also while the others are not: it is somebody's work.
    """
    manifests = {manifest["memo_key"]: manifest for manifest in store.manifests()}
    shown, heads = store.currents().values(), store.heads().values()
    waiting = [manifest["memo_key"] for manifest in (*shown, *heads)]
    for entry in store.files.entries("pins", ".json"):
        waiting.append(entry.path.rpartition("/")[2].removesuffix(".json"))
    keep: set[str] = set()
    while waiting:
        memo = waiting.pop()
        if memo in keep or memo not in manifests:
            continue
        keep.add(memo)
        waiting.extend(parent["memo_key"] for parent in manifests[memo]["inputs"].values())
    return keep


def collect(store: Store, *, dry_run: bool = False) -> Collected:
    """Remove what nothing needs; with `dry_run` only say what that would be.

    `WarehouseError` while a build on this machine is under way.
    """
    lock = store.scratch / "locks" / "gc"
    with locks.alone_or_refused(lock, f"a build is running in {store.home}; collect after it"):
        return _collect(store, dry_run)


def _collect(store: Store, dry_run: bool) -> Collected:
    found = Collected()
    keep = needed(store)
    listed: set[str] = set()
    trees: set[str] = set()
    doomed = []
    for manifest in store.manifests():
        if manifest["memo_key"] in keep:
            listed |= set(_paths(manifest))
            trees.add(listing_digest(manifest["files"]))
        else:
            name = label(manifest["asset_key"], manifest["partition"])
            found.versions.append((name, manifest["data_version"]))
            doomed.append(f"manifests/{manifest['memo_key']}.json")
    doomed += [
        f"accepted/{record['memo_key']}.json"
        for record in store.acceptances()
        if record["accepts"] not in keep
    ]
    doomed += [
        f"wholes/{record['asset_key']}@{record['data_version']}.json"
        for record in store.wholes_ever()
        if not keep >= set(record["partitions"].values())
    ]
    for folder in ("lake", "checkpoints"):
        for entry in store.files.entries(folder):
            if entry.path not in listed:
                doomed.append(entry.path)
                found.files += 1
                found.bytes += entry.size
    if not dry_run:
        for path in [
            *doomed,
            *_leftovers(store),
        ]:  # manifests come first: nothing listed is ever gone
            store.files.delete(path)
        for unused in _idle(store, keep, trees):
            shutil.rmtree(unused)
        for lock in (store.scratch / "locks").iterdir():
            if _MEMO_KEY.fullmatch(lock.name):  # others, as the driver's, are not ours to remove
                lock.unlink()  # nobody holds one: a holder would share the lock we hold alone
    return found


def _leftovers(store: Store) -> Iterator[str]:
    """Temporary files that a killed process left beside small documents."""
    for folder in ("manifests", "accepted", "current", "wholes", "pins"):
        for entry in store.files.entries(folder):
            if entry.path.rpartition("/")[2].startswith(ASIDE):
                yield entry.path


def _paths(manifest: Mapping[str, Any]) -> Iterator[str]:
    for kind, digest, _ in stored(manifest):
        yield Lake.address(digest) if kind == "part" else Checkpoints.address(digest)


def _idle(store: Store, keep: set[str], trees: set[str]) -> Iterator[Path]:
    """Local folders nobody needs: copies of collected versions, finished or old work."""
    for folder in _folders(store.scratch / "trees"):
        if folder.name not in trees:
            yield folder
    unfinished = set(others(store.scratch, keep))
    for folder in _folders(store.scratch / "work"):
        old = time.time() - folder.stat().st_mtime > WORK_DAYS * 86400
        if folder not in unfinished or old:
            yield folder


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir())
