"""Build functions and checks of the toy family with groups; misbehave where a file says so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from warehouse.artifact import parts
from warehouse.rows import with_ids
from warehouse.store import Artifact, CheckResult, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def library(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """The group's share of the numbers, scaled; notes who built it and with how many threads."""
    group, control = recipe.get("group", 0), Path(recipe["control"])
    every = inputs["numbers"].table("numbers")["n"].to_pylist()
    mine = np.array_split(every, recipe.get("groups", 1))[group].tolist()
    with (control / "built").open("a") as file:
        file.write(f"{group + 1} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")
    order = control / f"group_{group + 1}"
    command = order.read_text() if order.exists() else ""
    execution.progress("scaling", 0.5)
    if command == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if command == "fail":
        raise ValueError(f"group {group + 1} is told to fail")
    while command == "wait":
        time.sleep(0.05)
        command = order.read_text() if order.exists() else ""
    values = pa.array([n * recipe["scale"] * recipe.get("own", 1) for n in mine], pa.int64())
    rows = with_ids(pa.table({"n": values}), recipe["asset_key"], ["n"])
    return Output({"scaled": rows}, metrics={"sum": float(sum(values.to_pylist()))})


def joined(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """All groups' numbers in the order of the groups."""
    tables = [part.table("scaled")["n"].to_pylist() for part in parts(inputs, "library")]
    numbers = sorted(n for table in tables for n in table)
    return Output({"joined": pa.table({"n": pa.array(numbers, pa.int64())})})


def whole_numbers(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """No number is negative."""
    least = min(artifact.table("scaled")["n"].to_pylist(), default=0)
    return CheckResult("whole_numbers", least >= 0, f"least {least}", {"least": least})
