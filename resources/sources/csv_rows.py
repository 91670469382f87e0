"""Rows of a CSV file, each by the names of its header, with the line on which it begins.

Every value is text: what is a number stays as it was written. Knows no meaning of a column.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.sources.account import Reject, SourceError, shown
from resources.sources.json_rows import Row
from resources.sources.opening import LONGEST, lines


def csv_rows(path: Path, encoding: str) -> Iterator[Row | Reject]:
    """The rows of a file of comma-separated values (RFC 4180), behind a line of names.

    A row with more or fewer values than names, a stray quote, or a byte that is not of the encoding
    is a reject; one quote that is never closed costs what follows it. SourceError where there are
    no names, or two are the same.
    """
    csv.field_size_limit(LONGEST)
    fed = _Fed(path, encoding)
    reader = csv.reader(fed, strict=True)
    names = _names(reader, path)
    while True:
        begins = fed.line + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Reject(begins, "", shown(fed.last), f"not CSV: {error}")
            continue
        if not values:
            continue
        if len(values) != len(names):
            reason = f"{len(values)} values, but {len(names)} names in the first line"
            yield Reject(begins, "", shown(values), reason)
            continue
        yield begins, dict(zip(names, values, strict=True))


def _names(reader: Any, path: Path) -> list[str]:
    """The names in the first line."""
    try:
        names = next(reader)
    except StopIteration:
        names = []
    except csv.Error as error:
        raise SourceError(f"{path}:1: not CSV: {error}") from None
    if not any(name.strip() for name in names):
        raise SourceError(f"{path}:1: no names of columns; the first line of a CSV file says them")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"{path}:1: {names.count(twice)} columns {twice!r}; rename one")
    return list(names)


class _Fed:
    """The lines of a file as the csv reader takes them, with the number of the last one."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._lines, self._encoding = lines(path), encoding
        self.line, self.last = 0, ""

    def __iter__(self) -> _Fed:
        return self

    def __next__(self) -> str:
        found = next(self._lines)
        self.line = found.number
        if found.text is None:
            raise csv.Error(f"a line of more than {LONGEST >> 20} MiB")
        # A byte that is not of the encoding becomes a lone surrogate, which rejects its row alone.
        self.last = found.text.decode(self._encoding, "surrogateescape")
        return f"{self.last}\n"
