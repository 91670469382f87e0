"""A family of four assets that build in milliseconds: numbers → doubled → (total, listing)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from jobs.planning.plan import Plan, plan_of
from jobs.running.driver import drive
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.home import Home
from resources.store.spec import Spec

BUILDS = "tests.jobs.toy_builds"
KEYS = ["toy/numbers", "toy/doubled", "toy/total", "toy/listing"]


def recipe() -> Recipe:
    """The smoke recipe, without asking for its parents."""
    return load("smoke", check_paths=False)


def specs(
    folder: Path, *, factor: int = 2, wanted: int = 0, pause: float = 0.0, seconds: float = 1.0
) -> list[Spec]:
    """Numbers come from the files of `folder`; `wanted` is how many rows a check asks for."""
    cost = {"seconds": seconds, "tokens": 10.0}
    slow = {"pause": pause} if pause else {}
    return [
        Spec(
            "toy/numbers",
            "problems",
            f"{BUILDS}:numbers",
            recipe={"folder": str(folder), **slow},
            observe=(str(folder),),
            kinds=("parquet",),
            description="Numbers found in files.",
            predicted=cost,
        ),
        Spec(
            "toy/doubled",
            "sft_data",
            f"{BUILDS}:doubled",
            inputs={"numbers": "toy/numbers"},
            recipe={"factor": factor},
            checks=(f"{BUILDS}:enough",),
            pool="gpu",
            predicted=cost,
        ),
        Spec(
            "toy/total",
            "rl",
            f"{BUILDS}:total",
            inputs={"numbers": "toy/doubled"},
            recipe={"wanted": wanted},
            checks=(f"{BUILDS}:as_wanted",),
            model="toy",
            predicted=cost,
        ),
        Spec(
            "toy/listing",
            "evaluation",
            f"{BUILDS}:listing",
            inputs={"numbers": "toy/numbers"},
            predicted=cost,
        ),
    ]


def plan(home: Home, folder: Path, **options: Any) -> Plan:
    """The plan of the toy family."""
    return plan_of(home, recipe(), specs(folder, **options))


def run(home: Home, folder: Path, **options: Any) -> str:
    """Drives a run of the family; what it printed."""
    out = io.StringIO()

    def replan() -> Plan:
        return plan(home, folder, **options)

    drive(home, replan(), KEYS, replan, out, home.logs / "run.log")
    return out.getvalue()
