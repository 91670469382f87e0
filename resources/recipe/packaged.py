"""Which benchmarks come with the package, by name; opens none of them."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks" / "declared"


def benchmarks() -> list[str]:
    """The benchmarks that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
