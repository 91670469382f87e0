"""Files of a home: a local folder (temporary file, fsync, rename) or an fsspec object store.

Object stores have no rename, so there an object appears by one put. `replacing` is how anything
here writes a local file that must be whole. Knows paths and bytes only, not what they mean.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from warehouse.errors import WarehouseError, explained

CHUNK = 1 << 20  # bytes read or copied at once
ASIDE = ".tmp-"  # begins the names of files that are being written


@dataclass(frozen=True)
class Entry:
    """One stored file: its path relative to the home, its size in bytes, a token of its state."""

    path: str
    size: int
    token: str


class Files:
    """Files below one root, `url` being a local path or any fsspec URL (`s3://…`, `memory://…`).

    Paths are relative, with forward slashes. A file is visible whole or not at all. `filesystem`
    replaces the one fsspec would open for the URL. Errors: `WarehouseError`.
    """

    def __init__(self, url: str | Path, filesystem: Any = None) -> None:
        text = str(url)
        self.local: Path | None = None
        self.fs: Any = None
        if text.startswith("file://"):
            text = text[len("file://") :]
        if "://" not in text and filesystem is None:
            self.local = Path(os.path.abspath(os.path.expanduser(text)))
            self.root = str(self.local)
            self.url = self.root
            return
        import fsspec

        if filesystem is None:
            try:
                filesystem, _ = fsspec.core.url_to_fs(text)
            except (ImportError, ValueError) as error:
                raise WarehouseError(f"cannot open the home {text}: {error}") from error
        self.fs = filesystem
        self.root = str(filesystem._strip_protocol(text)).rstrip("/")
        self.url = str(filesystem.unstrip_protocol(self.root))  # as DuckDB will ask for it

    def where(self, path: str) -> str:
        """The full path or URL of `path`, for messages and for readers outside."""
        return f"{self.url}/{path}" if path else self.url

    def local_path(self, path: str) -> Path | None:
        """The path on this machine, or None on an object store."""
        return None if self.local is None else self.local / path

    def _remote(self, path: str) -> str:
        return f"{self.root}/{path}"

    def write(self, path: str, data: bytes | memoryview, *, read_only: bool = False) -> None:
        """Put `data` at `path`, replacing what is there; durable when this returns."""
        with explained(f"write {self.where(path)}"):
            if self.local is None:
                self.fs.pipe_file(self._remote(path), bytes(data))
                return
            with replacing(self.local / path, read_only=read_only) as aside:
                aside.write_bytes(data)

    def create(self, path: str, data: bytes) -> bool:
        """Put `data` at `path` unless something is there; says whether it was put."""
        with explained(f"write {self.where(path)}"):
            if self.local is None:
                try:
                    self.fs.pipe_file(self._remote(path), data, mode="create")
                except FileExistsError:
                    return False
                return True
            target = self.local / path
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = _beside(target)
            try:
                aside.write_bytes(data)
                sync(aside)
                os.link(aside, target)
            except FileExistsError:
                return False
            finally:
                aside.unlink(missing_ok=True)
            sync(target.parent)
            return True

    def add(self, path: str, source: Path) -> None:
        """Copy the local file `source` to `path`; durable and read-only when this returns."""
        with explained(f"write {self.where(path)}"):
            if self.local is None:
                self.fs.put_file(str(source), self._remote(path))
                return
            with replacing(self.local / path, read_only=True) as aside:
                shutil.copyfile(source, aside)

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None when there is nothing."""
        with explained(f"read {self.where(path)}"):
            try:
                if self.local is not None:
                    return (self.local / path).read_bytes()
                return cast(bytes, self.fs.cat_file(self._remote(path)))
            except FileNotFoundError:
                return None

    def open(self, path: str) -> BinaryIO:
        """A binary reader; `WarehouseError` when the file is gone."""
        try:
            if self.local is not None:
                return open(self.local / path, "rb")
            return cast(BinaryIO, self.fs.open(self._remote(path), "rb"))
        except FileNotFoundError as error:
            raise WarehouseError(f"{self.where(path)} is gone") from error

    def entry(self, path: str) -> Entry | None:
        """Size and state of `path`, or None when there is nothing."""
        try:
            if self.local is not None:
                status = os.stat(self.local / path)
                return Entry(path, status.st_size, f"{status.st_ino}.{status.st_mtime_ns}")
            return self._entry(self.fs.info(self._remote(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def entries(self, folder: str, suffix: str = "") -> Iterator[Entry]:
        """Every file below `folder` whose name ends in `suffix`, in path order."""
        with explained(f"list {self.where(folder)}"):
            found = self._walk(folder) if self.local is not None else self._find(folder)
            wanted = [entry for entry in found if entry.path.endswith(suffix)]
        yield from sorted(wanted, key=lambda e: e.path)

    def _walk(self, folder: str) -> Iterator[Entry]:
        try:
            with os.scandir(cast(Path, self.local) / folder) as listing:
                for item in listing:
                    path = f"{folder}/{item.name}"
                    if item.is_dir(follow_symlinks=False):
                        yield from self._walk(path)
                        continue
                    try:
                        status = item.stat()
                    except FileNotFoundError:
                        continue
                    yield Entry(path, status.st_size, f"{status.st_ino}.{status.st_mtime_ns}")
        except FileNotFoundError:
            return

    def _find(self, folder: str) -> Iterator[Entry]:
        self.fs.invalidate_cache()
        try:
            for info in self.fs.find(self._remote(folder), detail=True).values():
                yield self._entry(info)
        except FileNotFoundError:
            return

    def _entry(self, info: dict[str, Any]) -> Entry:
        tokens = (info.get(k) for k in ("ETag", "etag", "LastModified", "mtime", "created"))
        token = next((str(t) for t in tokens if t is not None), "")
        path = str(info["name"])
        return Entry(path[len(self.root) + 1 :], int(info["size"] or 0), token)

    def delete(self, path: str) -> None:
        """Remove `path`; nothing happens when it is gone already."""
        with explained(f"delete {self.where(path)}"):
            try:
                if self.local is not None:
                    (self.local / path).unlink()
                else:
                    self.fs.rm_file(self._remote(path))
            except FileNotFoundError:
                return


@contextmanager
def replacing(path: Path, *, read_only: bool = False) -> Iterator[Path]:
    """A name beside `path` to write a file at; it takes the place of `path` when the body ends.

    The file appears whole and durable, or, after an error, not at all: what was at `path` stays.
    A kill leaves the file beside, which `drop_leftovers` finds. The name keeps the suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _beside(path)
    try:
        yield aside
        sync(aside)
        if read_only:
            os.chmod(aside, 0o444)
        os.replace(aside, path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """`replacing` for a folder: a new one to fill, which takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside, old = _beside(path), _beside(path)
    aside.mkdir()
    try:
        yield aside
        for file in aside.rglob("*"):
            sync(file)
        sync(aside)
        if path.exists():
            os.replace(path, old)
        os.replace(aside, path)
        sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def drop_leftovers(folder: Path) -> None:
    """Remove what kills left of unfinished replacements below a folder that nobody writes to."""
    for left in list(folder.rglob(f"{ASIDE}*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{ASIDE}{os.getpid()}-{uuid.uuid4().hex}{path.suffix}")


def sync(path: Path) -> None:
    """Wait until a local file's content, or a folder's entries, would survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a local file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
