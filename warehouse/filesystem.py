"""Files of a home: a local folder (temporary file, fsync, rename) or an fsspec object store.

Object stores have no rename, so there an object appears by one put. Knows paths and bytes only,
not what they mean.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from warehouse.errors import WarehouseError, explained

CHUNK = 1 << 20  # bytes read or copied at once


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

    def write(self, path: str, data: bytes, *, read_only: bool = False) -> None:
        """Put `data` at `path`, replacing what is there; durable when this returns."""
        with explained(f"write {self.where(path)}"):
            if self.local is None:
                self.fs.pipe_file(self._remote(path), data)
                return
            with self._aside(path) as (file, temporary):
                file.write(data)
            self._settle(temporary, self.local / path, read_only)

    def create(self, path: str, data: bytes) -> bool:
        """Put `data` at `path` unless something is there; says whether it was put."""
        with explained(f"write {self.where(path)}"):
            if self.local is None:
                try:
                    self.fs.pipe_file(self._remote(path), data, mode="create")
                except FileExistsError:
                    return False
                return True
            with self._aside(path) as (file, temporary):
                file.write(data)
            try:
                os.link(temporary, self.local / path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            sync((self.local / path).parent)
            return True

    def add(self, path: str, source: Path) -> None:
        """Copy the local file `source` to `path`; durable and read-only when this returns."""
        with explained(f"write {self.where(path)}"):
            if self.local is None:
                self.fs.put_file(str(source), self._remote(path))
                return
            with self._aside(path) as (file, temporary), open(source, "rb") as reader:
                shutil.copyfileobj(reader, file, CHUNK)
            self._settle(temporary, self.local / path, read_only=True)

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

    def _aside(self, path: str) -> _Aside:
        return _Aside(cast(Path, self.local) / path)

    @staticmethod
    def _settle(temporary: Path, target: Path, read_only: bool) -> None:
        if read_only:
            os.chmod(temporary, 0o444)
        os.replace(temporary, target)
        sync(target.parent)


class _Aside:
    """A temporary file beside its target, fsynced at the end and removed on error."""

    def __init__(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path = target.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"

    def __enter__(self) -> tuple[BinaryIO, Path]:
        self.file = open(self.path, "wb")
        return self.file, self.path

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        finally:
            self.file.close()
        if kind is not None:
            self.path.unlink(missing_ok=True)


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
