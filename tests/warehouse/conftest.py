"""Small homes, artifacts and processes for the warehouse's tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from warehouse.artifact import Artifact, Output
from warehouse.rows import parents_of, with_ids
from warehouse.store import Request, Store

ROOT = Path(__file__).resolve().parents[2]
HOOKS = ("checks", "execution", "run_id")  # of a build, beside what is asked for


class ObjectStore(MemoryFileSystem):
    """An object store's manners: objects appear by a put and cannot be renamed."""

    cachable = False

    def mv(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("an object store has no rename")

    move = rename = mv_file = mv


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture(params=["local", "object store"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(tmp_path / "home")
    filesystem = ObjectStore()
    filesystem.store, filesystem.pseudo_dirs = {}, [""]
    return Store("memory://bucket/home", scratch=tmp_path / "scratch", filesystem=filesystem)


def problems(asset_key: str, questions: list[str]) -> pa.Table:
    plain = {
        name: ["x"] * len(questions)
        for name in ("domain", "kind", "source", "expected_answer", "license", "tests", "split")
    }
    table = pa.table(plain | {"question": questions, "difficulty": list(range(len(questions)))})
    return with_ids(table, asset_key, ["question"])


@pytest.fixture
def make_problems() -> Callable[[str, list[str]], pa.Table]:
    return problems


@pytest.fixture
def build() -> Callable[..., Artifact]:
    """Build `problems/math`, or any key, from a recipe; notes how often the function ran."""

    def run(
        store: Store,
        key: str = "problems/math",
        recipe: Mapping[str, Any] | None = None,
        *,
        inputs: Mapping[str, Artifact] | None = None,
        calls: list[str] | None = None,
        **options: Any,
    ) -> Artifact:
        def fn(workdir: Path, inputs: Any, recipe: dict[str, Any], execution: Any) -> Output:
            if calls is not None:
                calls.append(key)
            if not inputs:
                return Output({"problems": problems(key, recipe.get("questions", ["q1", "q2"]))})
            (parent,) = inputs.values()
            ids = [p["row_id"] for p in parent.table("problems").to_pylist()]
            rows = pa.table(
                {
                    "sample_id": pa.array(ids, pa.binary(16)),
                    "stage": ["sft"] * len(ids),
                    "position": list(range(len(ids))),
                }
            )
            parents = parents_of([[i] for i in ids], [[parent.key]] * len(ids))
            return Output({"blends": with_ids(rows, key, ["stage"], parents)}, metrics={"rows": 1})

        options.setdefault("code_version", "1")
        hooks = {name: options.pop(name) for name in HOOKS if name in options}
        return store.build(
            Request(key, None, fn, inputs or {}, recipe or {}, 0, **options), **hooks
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a Python process of its own that runs a script with the repo importable."""

    def run(script: str, *arguments: str) -> subprocess.Popen[str]:
        path = tmp_path / f"script{abs(hash(script))}.py"
        path.write_text(script)
        return subprocess.Popen(
            [sys.executable, str(path), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    return run
