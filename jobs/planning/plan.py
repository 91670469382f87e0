"""What a run would do now: every asset's state, and the plan of those to be made.

Asks the planner with specs read afresh. Knows neither torch nor Dagster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from assets.catalog import all_specs
from resources.recipe.loading import load
from resources.recipe.reference import Reference
from resources.recipe.schema import Recipe
from resources.store import home as homes
from resources.store.building import states_of
from resources.store.spec import Spec
from warehouse.manifest import whole_version
from warehouse.planning.planner import Node, State, few, inputs_first
from warehouse.store import Artifact, Store

LEAST_SECONDS = 1.0  # of any build: its checks, its publication, its Dagster run


@dataclass(frozen=True)
class Step:
    """What a run makes at once, an asset or one of its partitions, as it stands.

    What it is, how it would be keyed, what the planner says.
    """

    spec: Spec
    node: Node
    found: State

    @property
    def key(self) -> str:
        return self.spec.key

    @property
    def partition(self) -> str | None:
        return self.node.partition

    @property
    def label(self) -> str:
        return self.node.label

    @property
    def state(self) -> str:
        return self.found.state

    @property
    def why(self) -> str:
        return self.found.why

    @property
    def certain(self) -> bool:
        """Whether it has to be made whatever becomes of its inputs."""
        return not self.found.stands

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
        return max(self.predicted("seconds"), LEAST_SECONDS)

    def predicted(self, cost: str) -> float:
        """The recipe's prediction of `seconds` or `tokens`; a partition has its share."""
        return float(self.spec.predicted.get(cost, 0.0)) / max(len(self.spec.partitions), 1)


@dataclass(frozen=True)
class Asset:
    """One asset as people see it, over its partitions; `shown`: what readers see, by partition."""

    spec: Spec
    steps: Sequence[Step]
    shown: Mapping[str | None, Artifact]

    @property
    def key(self) -> str:
        return self.spec.key

    @property
    def state(self) -> str:
        """Missing where any partition is, else stale where any is, else fresh."""
        states = {step.state for step in self.steps}
        return next(state for state in ("missing", "stale", "fresh") if state in states)

    @property
    def why(self) -> str:
        """The reason; where there are partitions, each reason with those it holds for."""
        if not self.spec.partitions:
            return self.steps[0].why
        reasons: dict[str, list[str]] = {}
        for step in self.steps:
            if step.state != "fresh":
                reasons.setdefault(step.why, []).append(str(step.partition))
        return "; ".join(f"{few(names)}: {why}" for why, names in reasons.items())

    @property
    def data_version(self) -> str | None:
        """The version that readers see, of the whole; None where that has other partitions."""
        if not self.spec.partitions:
            return self.steps[0].found.data_version
        versions = {str(name): artifact.data_version for name, artifact in self.shown.items()}
        return whole_version(versions) if set(versions) == set(self.spec.partitions) else None

    @property
    def manifests(self) -> list[Mapping[str, Any]]:
        """The manifests of that version."""
        if not self.spec.partitions:
            return [step.manifest for step in self.steps if step.manifest is not None]
        return [artifact.manifest for artifact in self.shown.values()] if self.data_version else []


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
    def steps(self) -> list[Step]:
        return [step for asset in self.assets for step in asset.steps]

    @property
    def todo(self) -> list[Step]:
        """What is not fresh, inputs first, the partitions of an asset one after the other."""
        return [step for step in self.steps if step.state != "fresh"]

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.todo)

    @property
    def id(self) -> str:
        """Names what would be done from where things stand; another plan has another id.

        When a current version was set counts too, so that going back and forth asks anew each time,
        while a plan that failed before it made anything is not asked for twice.
        """
        parts = [
            [s.label, s.node.code_version, s.node.recipe, s.node.seed, s.node.observed, s.why]
            for s in self.todo
        ]
        body = json.dumps([parts, dict(self.pointers)], sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()[:12]


def make_plan(home: homes.Home, reference: Reference) -> Plan:
    """The plan for a home and a recipe, with code, recipe and sources read from disk now."""
    recipe = load(*reference)
    return plan_of(home, recipe, all_specs(recipe))


def plan_of(home: homes.Home, recipe: Recipe, specs: Sequence[Spec]) -> Plan:
    """The plan of given specs on a home."""
    store = Store(home.path)
    steps: dict[str, list[Step]] = {spec.key: [] for spec in specs}
    by_key = {spec.key: spec for spec in specs}
    for node, state in states_of(store, specs):
        steps[node.key].append(Step(by_key[node.key], node, state))
    order = inputs_first({spec.key: spec.reads() for spec in specs})
    assets = [Asset(by_key[key], steps[key], store.parts(key)) for key in order]
    pointers = {entry.path: entry.token for entry in store.files.entries("current", ".json")}
    return Plan(recipe, assets, pointers)
