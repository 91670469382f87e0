"""A toy family with a partitioned asset: numbers → library (a group a partition) → joined."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.planning.plan import Plan, plan_of
from jobs.running.driver import drive
from resources.recipe.schema import Recipe
from resources.store.home import Home
from resources.store.spec import Spec
from tests.jobs import toy

BUILDS = "tests.jobs.toy_group_builds"
KEYS = ["toy/numbers", "toy/library", "toy/joined"]


def groups(count: int, own: Mapping[int, dict[str, Any]] | None = None) -> dict[str, Any]:
    """`count` partitions as a block library has them; `own` adds to the slice of a group."""
    return {
        f"group_{number + 1}": {"groups": count, "group": number, **(own or {}).get(number, {})}
        for number in range(count)
    }


def recipe(workers: int = 1) -> Recipe:
    """The toy recipe, with that many workers."""
    loaded = toy.recipe()
    execution = loaded.execution.model_copy(update={"workers": workers})
    return replace(loaded, execution=execution)


def specs(
    folder: Path, count: int = 2, own: Mapping[int, dict[str, Any]] | None = None, scale: int = 1
) -> list[Spec]:
    """The family with `count` groups; without partitions where `count` is 0."""
    return [
        toy.specs(folder)[0],
        Spec(
            "toy/library",
            "sft_data",
            f"{BUILDS}:library",
            inputs={"numbers": "toy/numbers"},
            recipe={"scale": scale, "control": str(folder.parent)},
            partitions=groups(count, own),
            checks=(f"{BUILDS}:whole_numbers",),
            pool="gpu",
            kinds=("parquet",),
            description="Numbers, scaled.",
            predicted={"seconds": 10.0, "tokens": 100.0},
        ),
        Spec("toy/joined", "rl", f"{BUILDS}:joined", inputs={"library": "toy/library"}),
    ]


def plan(home: Home, folder: Path, count: int = 2, workers: int = 1, **options: Any) -> Plan:
    """The plan of the family."""
    return plan_of(home, recipe(workers), specs(folder, count, **options))


def order(folder: Path, partition: int, command: str) -> None:
    """Let the build of a group `fail`, `die` or `wait`; `obey` it no longer."""
    file = folder.parent / f"group_{partition}"
    if command == "obey":
        file.unlink()
    else:
        file.write_text(command)


def run(home: Home, folder: Path, count: int = 2, **options: Any) -> str:
    """Drives a run of the family with `count` groups; what it printed."""
    out = io.StringIO()

    def replan() -> Plan:
        return plan(home, folder, count, **options)

    drive(home, replan(), KEYS, replan, out, home.logs / "run.log")
    return out.getvalue()
