"""What a version is asked for with: all that decides its content, and what is noted beside it.

Knows keys, slices and hashes; building, checking and publishing are the store's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from warehouse.artifact import Artifact, Output
from warehouse.checks import CheckResult
from warehouse.errors import WarehouseError
from warehouse.manifest import FORMAT, check_key, derived_seed, digest, label, memo_key, plain

Build = Callable[[Path, Mapping[str, Artifact], dict[str, Any], Any], Output]
Check = Callable[[Artifact], CheckResult]


@dataclass(frozen=True)
class Request:
    """One version of an asset, or of a partition: `fn` of `inputs` and the recipe's slice.

    `layout` gives the slice of each partition of the asset, `observed` what each reads outside the
    graph, `versions` the data versions of each partition's inputs where they are not those of
    `inputs` (None: not built yet). The last four are noted in the manifest and decide nothing.
    `WarehouseError` for a key that is none, and for a partition that `layout` does not give.
    """

    key: str
    partition: str | None
    fn: Build
    inputs: Mapping[str, Artifact]
    recipe: Mapping[str, Any]
    seed: int
    code_version: str
    layout: Mapping[str | None, Mapping[str, Any]] = field(default_factory=dict)
    observed: Mapping[str | None, Mapping[str, str]] = field(default_factory=dict)
    versions: Mapping[str | None, Mapping[str, str] | None] = field(default_factory=dict)
    code_modules: Mapping[str, str] = field(default_factory=dict)
    reproducibility: str = "exact"
    stage: str = ""
    model: str | None = None

    def __post_init__(self) -> None:
        check_key(self.key)
        if self.partition not in (self.layout or {None: self.recipe}):
            raise WarehouseError(f"{self.label}: say with `layout` which partitions the asset has")

    @property
    def label(self) -> str:
        """Key and partition in one word."""
        return label(self.key, self.partition)

    @cached_property
    def memos(self) -> dict[str | None, str]:
        """The memo key of each partition whose inputs are there, or of the whole under None."""
        own = {name: artifact.data_version for name, artifact in self.inputs.items()}
        versions = {**self.versions, self.partition: own}
        return {
            name: memo_key(
                self.key,
                name,
                self.code_version,
                each,
                self.seed,
                read,
                self.observed.get(name, {}),
            )
            for name, each in (self.layout or {None: self.recipe}).items()
            if (read := versions.get(name, own)) is not None
        }

    @property
    def memo(self) -> str:
        """The memo key of what is asked for."""
        return self.memos[self.partition]

    def given(self) -> dict[str, Any]:
        """The recipe as `fn` gets it: the slice, `seed` derived for this version, `asset_key`, and
        the `model` whose asset it is where the slice does not name one."""
        seed = derived_seed(self.seed, self.key, self.partition)
        slice_ = plain(dict(self.recipe))
        return {"model": self.model, **slice_, "seed": seed, "asset_key": self.key}

    def manifest(self) -> dict[str, Any]:
        """The part of the manifest that stands before anything is built."""
        recipe = plain(dict(self.recipe))
        return {
            "format": FORMAT,
            "asset_key": self.key,
            "partition": self.partition,
            "memo_key": self.memo,
            "stage": self.stage,
            "model": self.model,
            "reproducibility": self.reproducibility,
            "code_version": self.code_version,
            "code_modules": dict(self.code_modules),
            "observed": dict(self.observed.get(self.partition, {})),
            "recipe": recipe,
            "recipe_hash": digest(recipe),
            "seed": self.seed,
            "inputs": {
                name: {
                    "asset_key": artifact.key,
                    "partition": artifact.partition,
                    "data_version": artifact.data_version,
                    "memo_key": artifact.memo_key,
                }
                for name, artifact in self.inputs.items()
            },
        }
