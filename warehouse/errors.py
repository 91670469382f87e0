"""The errors of the warehouse: one line each, saying what, where, and what to do.

Turns operating-system errors into such lines; knows nothing of what was being stored.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class WarehouseError(RuntimeError):
    """Something is wrong in the warehouse; says what, where, and what would be right."""


class RowsRejected(WarehouseError):
    """A build stopped at its rows; `rows` (a table) stays in the view `rejected` until it succeeds.

    Columns: source, file, line, field, value, reason.
    """

    def __init__(self, message: str, rows: pa.Table) -> None:
        super().__init__(message)
        self.rows = rows


_ADVICE = {
    errno.ENOSPC: "the disk is full; free space (`heirloom gc` removes unneeded versions) "
    "and run again, work done so far is kept",
    errno.EDQUOT: "the disk quota is used up; free space (`heirloom gc`) and run again",
    errno.EACCES: "permission denied; make it writable or set HEIRLOOM_HOME to a writable folder",
    errno.EPERM: "not permitted; make it writable or set HEIRLOOM_HOME to a writable folder",
    errno.EROFS: "the file system is read-only; set HEIRLOOM_HOME to a writable folder",
    errno.ENOTDIR: "a part of the path is a file; set HEIRLOOM_HOME to a folder",
}


def number(error: BaseException) -> int | None:
    """The operating system's error number, read also from the words of libraries that hide it.

    >>> number(RuntimeError("I/O error: No space left on device (os error 28)"))
    28
    """
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def explain(error: OSError, doing: str) -> WarehouseError:
    """The one-line `WarehouseError` for an operating-system error met while `doing`."""
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return WarehouseError(f"cannot {doing}: {advice}")


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn any `OSError` of the body into a `WarehouseError` that says what was being done."""
    try:
        yield
    except OSError as error:
        raise explain(error, doing) from error
