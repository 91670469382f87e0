"""Writes `assets/code_versions.json`: the code on which each hand-bumped version was decided.

    python -m jobs.maintenance.code_versions

Stages too expensive to rebuild whenever code moves carry a version that is bumped by hand. A test
fails once their code is not the recorded one: bump the version if results change, else just rewrite
the file with this command.
"""

from __future__ import annotations

import json
import sys

from assets.catalog import all_specs
from resources.checkout import CHECKOUT
from resources.recipe.loading import load
from warehouse.planning.code_version import code_version

FILE = CHECKOUT / "assets" / "code_versions.json"
RECIPE = "tiny"


def versions() -> dict[str, dict[str, str]]:
    """Version and code hash of each function whose specs carry a version, as they stand now.

    ValueError where two assets give one function different versions.
    """
    found: dict[str, dict[str, str]] = {}
    for spec in all_specs(load(RECIPE, check_paths=False)):
        if spec.version is not None:
            entry = {"version": spec.version, "hash": code_version(spec.fn, CHECKOUT).version}
            if found.setdefault(spec.fn, entry) != entry:
                raise ValueError(
                    f"{spec.key}: {spec.fn} has version {spec.version} here and "
                    f"{found[spec.fn]['version']} elsewhere; give it one"
                )
    return dict(sorted(found.items()))


def main() -> int:
    """Rewrite the file."""
    FILE.write_text(json.dumps(versions(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
