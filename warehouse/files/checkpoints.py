"""Files of artifacts (weights, tokenizers, images), each stored once under its SHA-256.

An artifact's folder is built of hard links (copies where links cannot be) on this machine. Knows
bytes and names only, not formats.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warehouse.errors import WarehouseError, explained
from warehouse.files.filesystem import ASIDE, CHUNK, Files
from warehouse.files.verify import local_digest, verify_local

Listing = dict[str, dict[str, Any]]  # name inside the artifact -> {"sha256": …, "bytes": …}


def listing_digest(listing: Mapping[str, Mapping[str, Any]]) -> str:
    """Hex SHA-256 over names and contents."""
    pairs = sorted((name, entry["sha256"]) for name, entry in listing.items())
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()


def walk(name: str, source: Path, asset_key: str) -> dict[str, Path]:
    """The plain files of `source` (a file or a folder), by their names inside the artifact."""
    if ".." in name.split("/"):
        raise WarehouseError(f"{asset_key}: file name {name!r} leads out of the artifact")
    if source.is_file():
        return {name or source.name: source}
    if not source.is_dir():
        raise WarehouseError(f"{asset_key}: file {name or '(root)'!r}: {source} does not exist")
    found = {}
    for folder, folders, names in os.walk(source):
        folders.sort()
        for inner in folders:
            if (Path(folder) / inner).is_symlink():
                raise WarehouseError(
                    f"{asset_key}: {Path(folder) / inner} is a link to a folder; copy its files"
                )
        for file in sorted(names):
            path = Path(folder) / file
            inside = "/".join([*([name] if name else []), *path.relative_to(source).parts])
            found[inside] = path
    return found


class Checkpoints:
    """Content-addressed files below `checkpoints/` of a home; local folders below `scratch`."""

    def __init__(self, files: Files, scratch: Path) -> None:
        self.files, self.scratch = files, scratch

    @staticmethod
    def address(digest: str) -> str:
        """Where the file with this SHA-256 lies, relative to the home."""
        return f"checkpoints/{digest[:2]}/{digest}"

    def add(self, sources: Mapping[str, Path], asset_key: str) -> Listing:
        """Store files and folders; returns every stored file by its name inside the artifact."""
        listing: Listing = {}
        for name, source in sources.items():
            for inside, path in walk(name.strip("/"), Path(source), asset_key).items():
                if inside in listing:
                    raise WarehouseError(f"{asset_key}: two files are named {inside!r}")
                listing[inside] = self._add(path)
        return dict(sorted(listing.items()))

    def add_bytes(self, data: bytes) -> dict[str, Any]:
        """Store one small file held in memory."""
        digest = hashlib.sha256(data).hexdigest()
        if self.files.entry(self.address(digest)) is None:
            self.files.write(self.address(digest), data, read_only=True)
        return {"sha256": digest, "bytes": len(data)}

    def _add(self, path: Path) -> dict[str, Any]:
        with explained(f"read {path}"):
            digest, size = local_digest(path), path.stat().st_size
        address = self.address(digest)
        entry = self.files.entry(address)
        local = self.files.local_path(address)
        sound = entry is not None and entry.size == size
        if sound and local is not None:
            sound = local_digest(local) == digest
        if not sound:
            self.files.add(address, path)
        return {"sha256": digest, "bytes": size}

    def read(self, entry: Mapping[str, Any], what: str) -> bytes:
        """The verified bytes of one stored file."""
        data = self.files.read(self.address(entry["sha256"]))
        if data is None:
            raise WarehouseError(
                f"{self.files.where(self.address(entry['sha256']))}: {what} is gone; "
                "run again to rebuild it"
            )
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise WarehouseError(
                f"{self.files.where(self.address(entry['sha256']))}: {what} is corrupted; "
                "delete that file and run again to rebuild it"
            )
        return data

    def folder(self, listing: Listing, name: str, what: str) -> Path:
        """A local path of the file or folder `name` ("" = all files), every file verified."""
        name = name.strip("/")
        wanted = {
            n: e for n, e in listing.items() if not name or n == name or n.startswith(name + "/")
        }
        if not wanted:
            there = ", ".join(sorted(listing)[:5]) or "no files"
            raise WarehouseError(f"{what} holds no file {name!r}; it holds {there}")
        root = self.scratch / "trees" / listing_digest(listing)
        if not all((root / n).exists() for n in listing):
            self._build(root, listing, what)
        for inside, entry in wanted.items():
            blob = self.files.local_path(self.address(entry["sha256"]))
            label = f"file {inside} of {what}"
            if blob is None or not os.path.samefile(blob, root / inside):
                verify_local(root / inside, entry["sha256"], label)
            else:
                verify_local(blob, entry["sha256"], label)
        return root / name if name else root

    def _build(self, root: Path, listing: Listing, what: str) -> None:
        aside = root.parent / f"{ASIDE}{os.getpid()}-{uuid.uuid4().hex}"
        try:
            with explained(f"build the folder {root}"):
                for inside, entry in listing.items():
                    target = aside / inside
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._place(entry, target, f"file {inside} of {what}")
                _swap(aside, root)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _place(self, entry: Mapping[str, Any], target: Path, label: str) -> None:
        address = self.address(entry["sha256"])
        blob = self.files.local_path(address)
        if blob is not None:
            verify_local(blob, entry["sha256"], label)
            try:
                os.link(blob, target)
            except OSError:  # another device, or no links here: a copy holds the same bytes
                shutil.copyfile(blob, target)
            return
        with self.files.open(address) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink, CHUNK)
        verify_local(target, entry["sha256"], label)


def _swap(aside: Path, root: Path) -> None:
    """Put a finished folder in place; another process may have put the same one there first."""
    if root.exists():  # incomplete: someone deleted files inside
        old = root.parent / f"{ASIDE}old-{uuid.uuid4().hex}"
        os.rename(root, old)
        shutil.rmtree(old, ignore_errors=True)
    try:
        os.rename(aside, root)
    except OSError:
        if not root.exists():
            raise
