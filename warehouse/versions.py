"""Reading a home: manifests, current pointers, acceptances, and readers of versions.

A partitioned asset has a pointer for each partition, its *heads*, moved one by one as partitions
are built, and one pointer as a whole that names a version of each. Readers see the whole; it moves
at once when the heads are complete, so nobody ever sees a mixture. Writes and builds nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.artifact import Artifact
from warehouse.errors import WarehouseError
from warehouse.files.filesystem import Entry, Files
from warehouse.manifest import FORMAT, check_key, check_partition, stored

if TYPE_CHECKING:
    from warehouse.files.checkpoints import Checkpoints
    from warehouse.files.lake import Lake


class Versions:
    """Versions of assets below one home (a local folder or an fsspec URL).

    `scratch` holds work folders, locks and local copies: the home itself when it is local.
    `filesystem` replaces the fsspec filesystem of a URL. Opening writes nothing.
    """

    def __init__(
        self, home: str | Path, *, scratch: str | Path | None = None, filesystem: Any = None
    ) -> None:
        self.files = Files(home, filesystem)
        if scratch is None and self.files.local is None:
            name = hashlib.sha256(self.files.url.encode()).hexdigest()[:16]
            scratch = Path.home() / ".cache" / "heirloom" / name
        self.scratch = Path(scratch) if scratch is not None else Path(self.files.root)
        self._manifests: dict[str, tuple[Entry, dict[str, Any]]] = {}

    @property
    def home(self) -> str:
        """Where the versions lie: an absolute path, or a URL."""
        return self.files.url

    @property
    def lake(self) -> Lake:
        """The tables' parts."""
        from warehouse.files.lake import Lake

        return Lake(self.files)

    @property
    def checkpoints(self) -> Checkpoints:
        """The stored files."""
        from warehouse.files.checkpoints import Checkpoints

        return Checkpoints(self.files, self.scratch)

    def _load(self, entry: Entry) -> dict[str, Any] | None:
        """A JSON document, remembered until its file changes."""
        known = self._manifests.get(entry.path)
        if known is not None and known[0] == entry and entry.token:
            return known[1]
        data = self.files.read(entry.path)
        if data is None:
            return None
        where = self.files.where(entry.path)
        try:
            document: dict[str, Any] = json.loads(data)
        except ValueError as error:
            raise WarehouseError(
                f"{where} is not readable JSON; delete that file and run again to rebuild it"
            ) from error
        if document.get("format", FORMAT) > FORMAT:
            raise WarehouseError(
                f"{where} has format {document['format']}, this version of heirloom reads {FORMAT}"
            )
        self._manifests[entry.path] = (entry, document)
        return document

    def document(self, path: str) -> dict[str, Any] | None:
        """The JSON document at `path` below the home, or None when there is none."""
        entry = self.files.entry(path)
        return None if entry is None else self._load(entry)

    def _folder(self, folder: str) -> Iterator[dict[str, Any]]:
        for entry in self.files.entries(folder, ".json"):
            document = self._load(entry)
            if document is not None:
                yield document

    def artifact(self, manifest: dict[str, Any]) -> Artifact:
        """The reader of a manifest's version."""
        return Artifact(manifest, self.lake, self.checkpoints)

    def manifests(self) -> Iterator[dict[str, Any]]:
        """The manifests of all versions of all assets."""
        return self._folder("manifests")

    def versions(self, key: str, partition: str | None = None) -> list[dict[str, Any]]:
        """The manifests of all versions of an asset, or of one of its partitions, newest first."""
        found = [
            manifest
            for manifest in self.manifests()
            if manifest["asset_key"] == key and manifest["partition"] == partition
        ]
        return sorted(found, key=lambda each: each["observations"]["materialized_at"], reverse=True)

    def acceptances(self) -> Iterator[dict[str, Any]]:
        """The records of changes that were declared immaterial."""
        return self._folder("accepted")

    def wholes_ever(self) -> Iterator[dict[str, Any]]:
        """The records of all partitioned assets as wholes, current ones and earlier ones."""
        return self._folder("wholes")

    def resolve(self, memo: str) -> dict[str, Any] | None:
        """The manifest that a memo key stands for, built or accepted; None when unknown."""
        found = self.document(f"manifests/{memo}.json")
        if found is None:
            accepted = self.document(f"accepted/{memo}.json")
            if accepted is not None:
                found = self.document(f"manifests/{accepted['accepts']}.json")
        return found

    def memo(self, memo_key: str) -> Artifact | None:
        """The version with this memo key, or None."""
        found = self.resolve(memo_key)
        return None if found is None else self.artifact(found)

    def _members(self, record: Mapping[str, Any]) -> dict[str | None, dict[str, Any]]:
        """The manifests that a pointer or a whole stands for; none at all where one is gone."""
        memos = record["partitions"] if "partitions" in record else {None: record["memo_key"]}
        found = {name: self.document(f"manifests/{memo}.json") for name, memo in memos.items()}
        there = {name: manifest for name, manifest in found.items() if manifest is not None}
        return there if len(there) == len(found) else {}

    def currents(self) -> dict[tuple[str, str | None], dict[str, Any]]:
        """The manifests that readers see, by asset key and partition: complete assets only."""
        return {
            (record["asset_key"], name): manifest
            for record in self._folder("current")
            if record.get("partition") is None
            for name, manifest in self._members(record).items()
        }

    def heads(self) -> dict[tuple[str, str | None], dict[str, Any]]:
        """The manifests last built or restored, by asset key and partition, whole or not."""
        return {
            (manifest["asset_key"], manifest["partition"]): manifest
            for record in self._folder("current")
            if "partitions" not in record
            for manifest in self._members(record).values()
        }

    def wholes(self) -> dict[str, dict[str, str]]:
        """The partitions, and the memo key of each, that are current as a whole, by asset key."""
        return {
            record["asset_key"]: record["partitions"]
            for record in self._folder("current")
            if "partitions" in record
        }

    def current(self, key: str, partition: str | None = None) -> Artifact | None:
        """The current version of an asset or of one of its partitions, None when there is none."""
        return self.parts(key).get(partition)

    def parts(self, name: str, version_prefix: str = "") -> dict[str | None, Artifact]:
        """The versions that make up an asset by partition; without partitions `{None: artifact}`.

        `name` is an asset key, or the label of one partition, then of that alone. Empty where
        nothing is current. With a prefix: of the whole, or of the one partition, whose data version
        starts so; `WarehouseError` where there is no such one or several.
        """
        key, _, partition = name.removesuffix("]").partition("[")
        record = self._whole(key, version_prefix) if version_prefix else None
        if record is None and version_prefix:
            artifact = self.at(key, version_prefix)
            found = {artifact.partition: artifact}
        else:
            record = record or self.document(pointer(key, None))
            members = {} if record is None else self._members(record)
            found = {part: self.artifact(manifest) for part, manifest in members.items()}
        return {part: made for part, made in found.items() if partition in ("", part)}

    def _whole(self, key: str, version_prefix: str) -> dict[str, Any] | None:
        """The record of the whole whose data version starts so, where all its parts are there."""
        found = [
            record
            for record in self.wholes_ever()
            if record["asset_key"] == key and record["data_version"].startswith(version_prefix)
        ]
        if len(found) > 1:
            versions = ", ".join(record["data_version"][:12] for record in found)
            raise WarehouseError(f"{key}@{version_prefix} fits several versions: {versions}")
        return found[0] if found and self._members(found[0]) else None

    def at(self, key: str, version_prefix: str) -> Artifact:
        """The version of an asset whose data version starts so; the current or newest of equals."""
        every = [m for m in self.manifests() if m["asset_key"] == key]
        matching = [m for m in every if m["data_version"].startswith(version_prefix)]
        if len({(m["data_version"], m["partition"]) for m in matching}) == 1:
            return self.artifact(max(matching, key=lambda m: m["observations"]["materialized_at"]))
        versions = sorted(
            {
                m["data_version"][:12] + (f" ({m['partition']})" if m["partition"] else "")
                for m in matching or every
            }
        )
        if matching:
            problem = "fits several versions: " + ", ".join(versions)
        elif every:
            problem = "fits no version; there are " + ", ".join(versions)
        else:
            problem = f"cannot be found: {key} was never built"
        raise WarehouseError(f"{key}@{version_prefix} {problem}")

    def damage(self, manifest: Mapping[str, Any]) -> str | None:
        """What of a version is gone or has the wrong size, without hashing; None when sound."""
        for kind, name, size in stored(manifest):
            if kind == "image":
                continue
            path = self.lake.address(name) if kind == "part" else self.checkpoints.address(name)
            entry = self.files.entry(path)
            if entry is None:
                return f"{self.files.where(path)} is gone"
            if entry.size != size:
                return f"{self.files.where(path)} has {entry.size} bytes instead of {size}"
        return None


def pointer(key: str, partition: str | None) -> str:
    """The path of an asset's pointer, or of the head of one of its partitions."""
    end = "" if partition is None else f"@{check_partition(partition)}"
    return f"current/{check_key(key)}{end}.json"
