"""The toy family's build functions and checks; their own module, whose hash is their version."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.store import Artifact, CheckResult, Output

if TYPE_CHECKING:
    from resources.execution import Execution

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63"
    "6060606000000005000156a2d3540000000049454e44ae426082"
)


def numbers(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """All numbers of the folder's JSON files, sorted; counts its calls beside the folder."""
    folder = Path(recipe["folder"])
    with (folder.parent / "calls").open("a") as file:
        file.write(f"{os.getpid()}\n")
    execution.progress("reading", 0.5)
    time.sleep(recipe.get("pause", 0.0))
    found = sorted(n for path in folder.glob("*.json") for n in json.loads(path.read_text()))
    return Output(
        {"numbers": pa.table({"n": pa.array(found, pa.int64())})}, images={"dot": PICTURE}
    )


def doubled(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """Every even number times the factor: odd numbers make no difference."""
    print("library chatter")
    kept = [n for n in inputs["numbers"].table("numbers")["n"].to_pylist() if n % 2 == 0]
    values = pa.array([n * recipe["factor"] for n in kept], pa.int64())
    return Output({"doubled": pa.table({"n": values})}, metrics={"mean": sum(kept) / len(kept)})


def total(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """The sum as a file."""
    values = inputs["numbers"].table("doubled")["n"].to_pylist()
    (workdir / "sum.json").write_text(json.dumps(sum(values)))
    return Output(files={"sum.json": workdir / "sum.json"}, metrics={"sum": float(sum(values))})


def listing(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """The numbers once more."""
    return Output({"listing": inputs["numbers"].table("numbers")})


def enough(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """There is at least one number."""
    return CheckResult(
        "enough", artifact.rows > 0, f"{artifact.rows} rows", {"rows": artifact.rows}
    )


def as_wanted(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The sum is what the recipe wants, if it wants one."""
    wanted = artifact.manifest["recipe"]["wanted"]
    passed = not wanted or artifact.metrics["sum"] == wanted
    return CheckResult("as_wanted", passed, f"{artifact.metrics['sum']:g}, wanted {wanted}")
