"""The house's floors: imports point down, nothing heavy is imported early, stages stay apart."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {"warehouse": 0, "resources": 1, "assets": 2, "jobs": 3, "sensors": 3, "definitions": 4}
HEAVY = {"torch", "transformers", "datasets", "vllm", "deepspeed", "matplotlib", "pulp", "highspy"}


def modules() -> Iterator[Path]:
    yield ROOT / "definitions.py"
    for room in ("assets", "jobs", "resources", "sensors", "warehouse"):
        yield from sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything that a module imports, anywhere in it."""
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: -node.level]) if node.level else []
            yield node.lineno, ".".join([*base, *([node.module] if node.module else [])])


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = path.relative_to(ROOT).with_suffix("").parts
    floor = FLOORS[here[0]]
    for line, name in imported(path):
        room = name.split(".")[0]
        assert FLOORS.get(room, -1) <= floor, f"{path}:{line} imports {name} from a floor above"
        if here[0] == "assets" and room == "assets" and len(here) > 2:
            stage = name.split(".")[1] if "." in name else ""
            assert stage == here[1], f"{path}:{line} imports {name}: stages meet through artifacts"


@pytest.mark.parametrize("room", ["warehouse", "resources", "assets"])
def test_only_the_face_knows_dagster(room: str) -> None:
    face = ROOT / "resources" / "store" / "dagster.py"
    for path in (ROOT / room).rglob("*.py"):
        if path != face:
            names = [name for _, name in imported(path) if name.split(".")[0] == "dagster"]
            assert not names, f"{path} imports Dagster"


def _loaded(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


def test_definitions_import_nothing_heavy() -> None:
    assert not HEAVY & _loaded("import definitions")


def test_planning_imports_neither_dagster_nor_anything_heavy() -> None:
    names = _loaded("import jobs.cli, jobs.plan, jobs.status, assets.catalog")
    assert not (HEAVY | {"dagster"}) & names


def test_packages_import_nothing() -> None:
    for path in [ROOT / "assets" / "__init__.py", *(ROOT / "assets").glob("*/__init__.py")]:
        assert not list(imported(path)), f"{path} imports something"


def test_no_machine_of_ours_is_named() -> None:
    """Text in the repo holds for every machine: no absolute path of a home or a work tree."""
    names = "|".join(["root", "home/[a-z]", "work", "Users"])
    pattern = re.compile(rf"(?<![\w.:/>}}-])/({names})/")
    suffixes = {".py", ".md", ".yaml", ".toml", ".json", ""}
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix in suffixes and path.is_file() and path.stat().st_size < 500_000:
            found = pattern.search(path.read_text(errors="replace"))
            assert not found, f"{name} holds the path {found and found.group()}"
