"""What a run would do now: every asset's state, and the plan of those to be made.

Asks the planner with specs read afresh. `python -m jobs.plan` prints the plan as JSON, so that a
long-lived process (the sensor) can ask a fresh one. Knows neither torch nor Dagster.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assets.catalog import all_specs
from jobs.cli import one_line
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store import home as homes
from resources.store.building import states_of
from resources.store.spec import Spec
from warehouse.planner import Node, State
from warehouse.store import Store

LEAST_SECONDS = 1.0  # of any build: its checks, its publication, its Dagster run


@dataclass(frozen=True)
class Asset:
    """One asset as it stands: what it is, how it would be keyed, what the planner says."""

    spec: Spec
    node: Node
    found: State

    @property
    def key(self) -> str:
        return self.spec.key

    @property
    def state(self) -> str:
        return self.found.state

    @property
    def why(self) -> str:
        return self.found.why

    @property
    def manifest(self) -> Mapping[str, Any] | None:
        return self.found.manifest

    @property
    def seconds(self) -> float:
        """What making it is expected to take: as long as its last build here, else as predicted."""
        if self.found.restorable:
            return 0.0
        if self.manifest is not None and "recipe:" not in self.why:
            return float(self.manifest["observations"]["seconds"])
        return max(float(self.spec.predicted.get("seconds", 0.0)), LEAST_SECONDS)


@dataclass(frozen=True)
class Plan:
    """All assets in pipeline order, and which of them a run would make."""

    recipe: Recipe
    assets: Sequence[Asset]
    pointers: Mapping[str, str]  # path -> state of what says which version is current

    @cached_property
    def by_key(self) -> Mapping[str, Asset]:
        return {asset.key: asset for asset in self.assets}

    @property
    def todo(self) -> list[Asset]:
        """What is not fresh, inputs first."""
        return [asset for asset in self.assets if asset.state != "fresh"]

    @property
    def seconds(self) -> float:
        return sum(asset.seconds for asset in self.todo)

    @property
    def id(self) -> str:
        """Names what would be done from where things stand; another plan has another id.

        When a current version was set counts too, so that going back and forth asks anew each time,
        while a plan that failed before it made anything is not asked for twice.
        """
        parts = [
            [a.key, a.node.code_version, a.node.recipe, a.node.seed, a.node.observed, a.why]
            for a in self.todo
        ]
        body = json.dumps([parts, dict(self.pointers)], sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()[:12]


def make_plan(home: homes.Home, recipe_name: str) -> Plan:
    """The plan for a home and a recipe, with code, recipe and sources read from disk now."""
    recipe = load(recipe_name)
    return plan_of(home, recipe, all_specs(recipe))


def plan_of(home: homes.Home, recipe: Recipe, specs: Sequence[Spec]) -> Plan:
    """The plan of given specs on a home."""
    store = Store(home.path)
    assets = in_order(specs, states_of(store, specs))
    pointers = {entry.path: entry.token for entry in store.files.entries("current", ".json")}
    return Plan(recipe, assets, pointers)


def in_order(specs: Sequence[Spec], states: Sequence[tuple[Node, State]]) -> list[Asset]:
    """Assets with inputs before what is made from them, otherwise in pipeline order."""
    waiting = [Asset(spec, *pair) for spec, pair in zip(specs, states, strict=True)]
    placed: dict[str, Asset] = {}
    while waiting:
        ready = [a for a in waiting if all(key in placed for key in a.spec.inputs.values())]
        placed.update((asset.key, asset) for asset in ready[:1])
        waiting.remove(ready[0])
    return list(placed.values())


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values, for the sensor."""
    return {
        "id": plan.id,
        "seconds": plan.seconds,
        "approval_seconds": plan.recipe.execution.approval_seconds,
        "assets": [{"key": a.key, "state": a.state, "why": a.why} for a in plan.todo],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the plan of a home and a recipe as JSON; an error is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m jobs.plan", description=main.__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--recipe", required=True)
    arguments = parser.parse_args(argv)
    os.environ["HEIRLOOM_HOME"] = arguments.home
    try:
        plan = make_plan(homes.Home(Path(arguments.home)), arguments.recipe)
    except Exception as error:
        print(one_line(error), file=sys.stderr)
        return 1
    print(json.dumps(as_json(plan)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
