"""One declarative record per asset: what the planner, the command line and Dagster all read.

Plain data; nothing here imports what a record names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resources.pretrained.source import ParentSource


@dataclass(frozen=True)
class Spec:
    """One asset.

    `fn` is "package.module:function" with `fn(workdir, inputs, recipe, execution) -> Output`, and
    each of `checks` names a `check(artifact, inputs) -> CheckResult`; both are imported only when
    used. `inputs` maps the function's names for its inputs to asset keys, or to one partition of an
    asset, `key[partition]`.

    `partitions` names parts that are built, published and retried apart, each with what it adds to
    the recipe. An asset that reads a partitioned one gets all its partitions, as `name@partition`.
    `observe_of` and `inputs_of` name what one of them alone reads, so that what is new there leaves
    the others fresh.
    """

    key: str
    stage: str  # the folder under assets/, which is the Dagster group
    fn: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)  # semantic slice, JSON values
    partitions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0  # the family's; the asset's own is derived from it and the key
    version: str | None = None  # hand-bumped code version; None: the hash of the code
    checks: tuple[str, ...] = ()
    reproducibility: str = "exact"  # or "statistical"
    model: str | None = None
    kinds: tuple[str, ...] = ()
    runs_programs: bool = False  # that models wrote, to judge them: needs a sandbox
    description: str = ""
    pool: str | None = None
    predicted: Mapping[str, float] = field(default_factory=dict)  # seconds, tokens, bytes
    source: ParentSource | str | None = None  # outside the graph: a given model, or a file's path
    observe: tuple[str, ...] = ()  # further files whose content hash enters the memo key
    # partition -> (file, first byte, end): whole files, or the lines that begin in a range
    observe_of: Mapping[str, tuple[tuple[str, int, int | None], ...]] = field(default_factory=dict)
    inputs_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # partition -> inputs

    def slices(self) -> dict[str | None, dict[str, Any]]:
        """The recipe of each partition; of the whole asset, under None, where it has none."""
        if not self.partitions:
            return {None: dict(self.recipe)}
        return {name: {**self.recipe, **own} for name, own in self.partitions.items()}

    def inputs_for(self, partition: str | None) -> dict[str, str]:
        """The inputs of one partition: the asset's and its own."""
        own = {} if partition is None else self.inputs_of.get(partition, {})
        return {**self.inputs, **own}

    def reads(self) -> list[str]:
        """The keys of the assets that it reads, each once; of a partition, its asset's."""
        every = [
            *self.inputs.values(),
            *(k for own in self.inputs_of.values() for k in own.values()),
        ]
        return list(dict.fromkeys(key.partition("[")[0] for key in every))
