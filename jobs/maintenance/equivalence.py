"""Keeps `assets/equivalence.json`: which code versions of a build function make the same content.

    python -m jobs.maintenance.equivalence --since REVISION --reason "moved" [FUNCTION …]

A home built by the code of REVISION (a git revision) then stays fresh where only these functions'
code moved. Whether their content is the same is the caller's word: build the same recipe with both
and compare the data versions first. Functions are found in REVISION by their own name, whatever
their module was called; without FUNCTION, all whose code moved. A test fails when a recorded
function moves again: decide, and run this once more or take its entry out.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from assets.catalog import all_specs
from resources.checkout import CHECKOUT
from resources.recipe.loading import load
from resources.store.building import EQUIVALENCE
from warehouse.errors import WarehouseError
from warehouse.planning.code_version import code_version
from warehouse.planning.equivalence import Equivalence, Former

RECIPES = ("tiny", "smol")  # whose homes the table keeps fresh


def functions() -> dict[str, str]:
    """Today's code version of every build function whose version is the hash of its code."""
    recipes = (load(name, check_paths=False) for name in RECIPES)
    hashed = {spec.fn for each in recipes for spec in all_specs(each) if spec.version is None}
    return {fn: code_version(fn, CHECKOUT).version for fn in sorted(hashed)}


def outdated(table: Equivalence, now: Mapping[str, str]) -> list[str]:
    """The functions of the table whose newest entry is not today's code."""
    return [fn for fn, each in table.classes.items() if each[-1].code != now.get(fn)]


def extended(
    table: Equivalence, then: Mapping[str, str], now: Mapping[str, str], reason: str
) -> Equivalence:
    """The table with today's code of the functions of `then` equal to their code of then."""
    classes = dict(table.classes)
    for fn, before in then.items():
        if before == now[fn]:
            continue
        members = classes.get(fn, ())
        if before not in {each.code for each in members}:
            members = (*members, Former(before))
        classes[fn] = (*(m for m in members if m.code != now[fn]), Former(now[fn], reason=reason))
    return Equivalence(classes)


def versions_at(revision: str, wanted: Iterable[str]) -> dict[str, str]:
    """The code version at a git revision of each wanted function; without those not there.

    Raises WarehouseError where git does not know the revision or a name stands in several modules.
    """
    made = subprocess.run(
        ["git", "archive", revision], cwd=CHECKOUT, capture_output=True, check=False
    )
    if made.returncode:
        raise WarehouseError(f"git knows no {revision}: {made.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
            archive.extractall(folder, filter="data")
        root = Path(folder)
        found = {}
        for fn in wanted:
            module = _module_at(root, fn)
            if module is not None:
                found[fn] = code_version(f"{module}:{fn.partition(':')[2]}", root).version
    return found


def _module_at(root: Path, fn: str) -> str | None:
    module, _, name = fn.partition(":")
    defined = re.compile(rf"^def {name}\(", re.MULTILINE)
    same = root.joinpath(*module.split(".")).with_suffix(".py")
    if same.is_file() and defined.search(same.read_text()):
        return module
    stage = root.joinpath(*module.split(".")[:2])
    files = [path for path in sorted(stage.rglob("*.py")) if defined.search(path.read_text())]
    if len(files) > 1:
        raise WarehouseError(f"{name} stands in {', '.join(map(str, files))}; which was {fn}?")
    return ".".join(files[0].relative_to(root).with_suffix("").parts) if files else None


def main(argv: Sequence[str] | None = None) -> int:
    """Extend the table; prints each function that it now covers."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.maintenance.equivalence", description=main.__doc__
    )
    parser.add_argument("--since", required=True, metavar="REVISION")
    parser.add_argument("--reason", required=True)
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help="module:function")
    arguments = parser.parse_args(argv)
    now = functions()
    if unknown := sorted(set(arguments.functions) - set(now)):
        print(f"no such build function: {', '.join(unknown)}", file=sys.stderr)
        return 2
    try:
        then = versions_at(arguments.since, arguments.functions or now)
    except WarehouseError as error:
        print(error, file=sys.stderr)
        return 1
    extended(Equivalence.read(EQUIVALENCE), then, now, arguments.reason).write(EQUIVALENCE)
    moved = [fn for fn, before in then.items() if before != now[fn]]
    print("\n".join(moved) or "nothing moved")
    return 0


if __name__ == "__main__":
    sys.exit(main())
