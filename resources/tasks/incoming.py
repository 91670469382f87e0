"""Problems dropped into the watched folder: which files concern which domain, and their rows.

A file is JSON lines. It lies in a folder named after its domain, or anywhere in the watched folder
with a `domain` on every line.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.tasks.generate import DOMAINS, problem_table
from resources.tasks.loaders import FIELDS, LoadError, read_json_lines, to_problem

if TYPE_CHECKING:
    import pyarrow as pa


def files(folder: Path, domain: str) -> list[Path]:
    """The dropped files that hold problems of `domain`, in order of their names."""
    if not folder.is_dir():
        return []
    own = (folder / domain).glob("*.jsonl")
    shared = (path for path in folder.glob("*.jsonl") if domain in _domains(path))
    return sorted([*own, *shared])


def _domains(path: Path) -> set[str]:
    return {str(row.get("domain", "")) for row in read_json_lines(path)}


def read(paths: Sequence[Path], domain: str) -> "pa.Table":
    """Training rows of `domain` from dropped files; see `loaders.to_problem` for the fields.

    Raises LoadError, with file and line, for a line that is not a problem.
    """
    rows: list[dict[str, Any]] = []
    for path in paths:
        for number, row in enumerate(read_json_lines(path), 1):
            named = row.get("domain", domain)
            if named not in DOMAINS:
                raise LoadError(
                    f"{path}:{number}: domain {named!r} is none of {', '.join(DOMAINS)}"
                )
            if named != domain:
                continue
            if "question" not in row:
                raise LoadError(
                    f"{path}:{number}: no field 'question'; it has {json.dumps(row)[:80]}"
                )
            fields = {name: name for name in FIELDS if name in row}
            problem = to_problem(row, fields, domain, f"incoming/{path.name}", number, "unknown")
            rows.append({**problem, "split": "train"})
    return problem_table(rows)
