"""Verified reads: a stored file counts only when its SHA-256 is the one its name promises.

Each file is hashed on its first read in a process and again only when size or time changed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from warehouse.errors import WarehouseError
from warehouse.files.filesystem import Files, sha256_file

_verified: dict[tuple[str, int, int], str] = {}


def _complaint(where: str, what: str) -> WarehouseError:
    return WarehouseError(f"{where}: {what}; delete that file and run again to rebuild it")


def local_digest(path: Path) -> str:
    """Hex SHA-256 of a local file, remembered by path, size and modification time."""
    status = os.stat(path)
    key = (str(path), status.st_size, status.st_mtime_ns)
    if key not in _verified:
        _verified[key] = sha256_file(path)
    return _verified[key]


def verify_local(path: Path, digest: str, what: str) -> Path:
    """`path` itself once its content has the given SHA-256; `what` names it in the error."""
    try:
        found = local_digest(path)
    except FileNotFoundError as error:
        raise WarehouseError(f"{path}: {what} is gone; run again to rebuild it") from error
    except OSError as error:
        raise WarehouseError(f"{path}: {what} cannot be read: {error.strerror}") from error
    if found != digest:
        raise _complaint(str(path), f"{what} is corrupted (its SHA-256 is not {digest[:12]}…)")
    return path


def readable(files: Files, path: str, digest: str, what: str) -> Any:
    """A verified source for pyarrow: a local path, or a buffer fetched from an object store."""
    local = files.local_path(path)
    if local is not None:
        return verify_local(local, digest, what)
    data = files.read(path)
    if data is None:
        raise WarehouseError(f"{files.where(path)}: {what} is gone; run again to rebuild it")
    if hashlib.sha256(data).hexdigest() != digest:
        raise _complaint(
            files.where(path), f"{what} is corrupted (its SHA-256 is not {digest[:12]}…)"
        )
    import pyarrow as pa

    return pa.BufferReader(data)
