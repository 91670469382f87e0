"""Problems dropped into the watched folder: which files concern which domain, and their rows.

Files have any format of a declared source and our own names of fields. One lies in a folder named
after its domain, or anywhere in the watched folder with a `domain` in every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.recipe.sections.data import Source
from resources.sources.account import Account
from resources.sources.fields import Unfit, at
from resources.sources.reading import read as read_rows
from resources.sources.shards import format_of, known, shards
from resources.tasks.generate import DOMAINS, problem_table

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "incoming"
MAX_DROP = 0.01  # share of rows that may not fit, as of a declared source that says nothing else


def files(folder: Path, domain: str) -> list[Path]:
    """The dropped files that hold problems of `domain`, in order of their names."""
    shared = (path for path in _in(folder) if domain in _domains(path))
    return sorted([*_in(folder / domain), *shared])


def unplaced(folder: Path) -> list[Path]:
    """The dropped files that no domain reads: in no domain's folder, and no row names a domain."""
    return [path for path in _in(folder) if not _domains(path)] + [
        path
        for inside in sorted(folder.glob("*/"))
        if inside.name not in DOMAINS
        for path in _in(inside)
    ]


def _in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    rows = (path for path in folder.iterdir() if path.is_file() and _of_rows(path))
    return sorted(path for path in rows if not path.name.startswith("."))


def _of_rows(path: Path) -> bool:
    return known(path) and format_of(path.name) != "text"


def _domains(path: Path) -> frozenset[str]:
    stat = path.stat()
    return _named(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _named(path: Path, size: int, changed: int) -> frozenset[str]:
    """The domains that the rows of a file name."""
    found: set[str] = set()

    def noted(row: Mapping[str, Any]) -> bool:
        if row.get("domain") in DOMAINS:
            found.add(row["domain"])
        return True

    source = _source(path, DOMAINS[0])
    for shard in shards(source, path.parent, path.parent):
        for _ in read_rows(source, shard, noted):
            pass  # rows are looked at, none is kept
    return frozenset(found)


def _source(path: Path, domain: str) -> Source:
    return Source(kind="problems", path=str(path), verifier=domain, license="unknown")


def read(paths: Sequence[Path], domain: str) -> tuple[pa.Table, Account]:
    """Training rows of `domain` from dropped files, and the account of their rows.

    A row of another domain is that one's. See `resources.sources.problems` for the fields.
    """
    account, rows = Account(NAME, NAME), list[dict[str, Any]]()
    for path in paths:
        alone = path.parent.name == domain

        def elsewhere(row: Mapping[str, Any], alone: bool = alone) -> bool:
            named = at(row, "domain") if not alone or "domain" in row else None
            named = domain if alone and named is None else named  # a column may say nothing
            if named not in DOMAINS:
                raise Unfit("domain", named, f"must be one of {', '.join(DOMAINS)}")
            return bool(named != domain)

        source = _source(path, domain)
        for shard in shards(source, path.parent, path.parent):
            for batch in read_rows(source, shard, elsewhere):
                account.add(batch)
                rows += [_row(each["problem"], domain, path) for each in batch.kept.to_pylist()]
    return problem_table(rows), account


def _row(problem: Mapping[str, Any], domain: str, path: Path) -> dict[str, Any]:
    return {
        **problem,
        "domain": domain,
        "kind": "loaded",
        "source": f"{NAME}/{path.name}",
        "license": "unknown",
        "split": "train",
        "prompt_messages": None,
        "composition": problem["question"],
    }
