"""Which benchmarks and mappings of data sets come with the package, by name; opens none of them."""

from __future__ import annotations

from pathlib import Path

_RESOURCES = Path(__file__).resolve().parent.parent
FOLDER = _RESOURCES / "benchmarks" / "declared"
MAPPINGS = _RESOURCES / "sources" / "declared"


def benchmarks() -> list[str]:
    """The benchmarks that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def mappings() -> list[str]:
    """The published data sets of which the package says how a source reads them."""
    return sorted(path.stem for path in MAPPINGS.glob("*.yaml"))
