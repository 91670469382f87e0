"""Where the libraries of the test environment lie: what programs and their tests may import.

Names are those of imports. A library comes with what its distribution requires; the standard
library is always there, and nothing else of the installation is.
"""

import importlib.metadata as metadata
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

_REQUIREMENT = re.compile(r"^[A-Za-z0-9._-]+")


@lru_cache(maxsize=16)
def shown(names: Sequence[str]) -> tuple[str, ...]:
    """The folders and files of these libraries, those that are installed; the others are absent."""
    waiting = [found for name in names if (found := _distribution(name))]
    seen: dict[str, metadata.Distribution] = {}
    while waiting:
        each = waiting.pop()
        if each.name in seen:
            continue
        seen[each.name] = each
        for requirement in each.requires or []:
            wanted = _REQUIREMENT.match(requirement)
            if wanted and "extra ==" not in requirement:
                waiting += [found for found in [_named(wanted.group())] if found]
    return tuple(sorted({path for each in seen.values() for path in _entries(each)}))


def _named(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _distribution(name: str) -> metadata.Distribution | None:
    """The distribution that a name is imported from: mostly its own, else looked up among all."""
    found = _named(name)
    if found is None:
        owners = metadata.packages_distributions().get(name, [])
        found = _named(owners[0]) if owners else None
    return found


def _entries(distribution: metadata.Distribution) -> list[str]:
    """What a distribution lays beside others in the folder of packages, but for its metadata."""
    base = Path(str(distribution.locate_file("")))
    names = {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}
    kept = [name for name in names if not name.endswith((".dist-info", ".pth", "__pycache__"))]
    return [str((base / name).resolve()) for name in kept if (base / name).exists()]
