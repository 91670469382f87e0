"""The house's floors: who may import whom, and that nothing heavy is imported early."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[1]
TOPS = ("assets", "benchmarks", "jobs", "resources", "sensors", "tests", "warehouse")
LINES_OF_A_FUNCTION, LINES_OF_A_FILE = 60, 400
HEAVY = {"torch", "transformers", "datasets", "vllm", "deepspeed", "matplotlib", "pulp", "highspy"}


def test_imports_keep_the_contracts() -> None:
    """Floors, stages, what must not be known where, and circles: `[tool.importlinter]`."""
    assert lint_imports(str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True) == 0


def _loaded(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in json.loads(result.stdout.splitlines()[-1])}


def test_definitions_import_nothing_heavy() -> None:
    assert not HEAVY & _loaded("import definitions")


def test_planning_imports_neither_dagster_nor_anything_heavy() -> None:
    names = _loaded("import jobs.cli, jobs.planning.plan, jobs.commands.status, assets.catalog")
    assert not (HEAVY | {"dagster"}) & names


def test_packages_import_nothing() -> None:
    for path in (ROOT / "assets").rglob("__init__.py"):
        body = ast.walk(ast.parse(path.read_text()))
        assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in body), path


def test_functions_and_files_keep_to_one_idea() -> None:
    """At most 60 lines a function, docstring included; code in files of at most 400."""
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            text = path.read_text()
            assert top == "tests" or text.count("\n") <= LINES_OF_A_FILE, path
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or node.lineno) - node.lineno + 1
                    assert lines <= LINES_OF_A_FUNCTION, f"{path}:{node.lineno} has {lines} lines"


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


def test_code_from_elsewhere_is_never_trusted() -> None:
    """Every Auto class is told so, so that none ever asks; vLLM is never told otherwise."""
    told = 0
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and path != Path(__file__):
                    assert "--trust-remote-code" not in str(node.value), f"{path}:{node.lineno}"
                if isinstance(node, ast.Dict):
                    for key, value in zip(node.keys, node.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == "trust_remote_code":
                            assert _is_false(value), f"{path}:{value.lineno}"
                if isinstance(node, ast.Call):
                    given = {word.arg: word.value for word in node.keywords}
                    if "trust_remote_code" in given or _auto(node.func):
                        where = f"{path}:{node.lineno}"
                        assert _is_false(given.get("trust_remote_code")), where
                        told += 1
    assert told


def _is_false(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _auto(function: ast.AST) -> bool:
    """Whether it is `Auto….from_pretrained` or `Auto….from_config`."""
    if not isinstance(function, ast.Attribute) or function.attr not in (
        "from_pretrained",
        "from_config",
    ):
        return False
    return isinstance(function.value, ast.Name) and function.value.id.startswith("Auto")
