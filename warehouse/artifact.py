"""What a build returns and what a reader gets: outputs and verified artifacts.

Knows how a version is read, not how it came to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.checks import CheckResult
from warehouse.errors import WarehouseError
from warehouse.manifest import label

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.files.checkpoints import Checkpoints
    from warehouse.files.lake import Lake


@dataclass
class Output:
    """What a build function returns.

    `tables` by view name (`problems`, `generations`, …) may be streams; `files` maps a name inside
    the artifact ("" = its root) to a local file or folder. `metrics` are key numbers, the first
    one shown in the run table; `observations` (timings) and `images` (PNGs) are recorded beside,
    outside the hash.
    """

    tables: Mapping[str, pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch]] = field(
        default_factory=dict
    )
    files: Mapping[str, Path] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    observations: dict[str, Any] = field(default_factory=dict)
    images: dict[str, bytes] = field(default_factory=dict)


class Artifact:
    """Verified reader of one version of one asset; raises `WarehouseError` on damaged content."""

    def __init__(self, manifest: dict[str, Any], lake: Lake, checkpoints: Checkpoints) -> None:
        self.manifest = manifest
        self._lake, self._checkpoints = lake, checkpoints

    @property
    def key(self) -> str:
        """The asset key, such as `super/block_library`."""
        return str(self.manifest["asset_key"])

    @property
    def partition(self) -> str | None:
        """The partition, or None."""
        return None if self.manifest["partition"] is None else str(self.manifest["partition"])

    @property
    def label(self) -> str:
        """Key and partition in one word."""
        return label(self.key, self.partition)

    @property
    def memo_key(self) -> str:
        """Hash of what the version was made from."""
        return str(self.manifest["memo_key"])

    @property
    def data_version(self) -> str:
        """Hash of the content."""
        return str(self.manifest["data_version"])

    @property
    def metrics(self) -> dict[str, float]:
        """Key numbers, the key metric first."""
        return dict(self.manifest["metrics"])

    @property
    def observations(self) -> dict[str, Any]:
        """Times and other measurements outside the hash."""
        return dict(self.manifest["observations"])

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return int(self.manifest["rows"])

    @property
    def checks(self) -> list[CheckResult]:
        """The results of the checks that ran before publication."""
        return [CheckResult(**check) for check in self.manifest["checks"]]

    def _entry(self, name: str) -> dict[str, Any]:
        tables = self.manifest["tables"]
        if name not in tables:
            there = ", ".join(tables) or "none"
            raise WarehouseError(f"{self.key} has no table {name!r}; its tables: {there}")
        entry: dict[str, Any] = tables[name]
        return entry

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A whole table; rows with ids come in the order of their ids, others as written."""
        return self._lake.table(self._entry(name), f"table {name!r} of {self.key}", columns)

    def batches(
        self, name: str, columns: list[str] | None = None, batch_size: int = 8192
    ) -> Iterator[pa.RecordBatch]:
        """The rows of `table` in batches of at most `batch_size`, one part in memory at a time."""
        what = f"table {name!r} of {self.key}"
        return self._lake.batches(self._entry(name), what, columns, batch_size)

    def path(self, name: str = "") -> Path:
        """A local file or folder holding the artifact's files ("" = all of them). Read-only."""
        return self._checkpoints.folder(self.manifest["files"], name, self.key)

    def image(self, name: str) -> bytes:
        """One of the PNGs recorded beside the artifact."""
        images = self.manifest["images"]
        if name not in images:
            raise WarehouseError(f"{self.key} has no image {name!r}; it has {', '.join(images)}")
        return self._checkpoints.read(images[name], f"image {name} of {self.key}")

    def __repr__(self) -> str:
        return f"Artifact({self.label}@{self.data_version[:12]})"


def parts(inputs: Mapping[str, Artifact], name: str) -> list[Artifact]:
    """The artifacts behind an input: all partitions of a partitioned asset in order, else the one.

    A partition stands among the inputs as `name@partition`; numbers in partition names count as
    numbers: `layers_4-9` comes before `layers_10-20`. KeyError where there is no such input.
    """
    if name in inputs:
        return [inputs[name]]
    found = sorted((each for each in inputs if each.startswith(f"{name}@")), key=_numbered)
    if not found:
        raise KeyError(f"no input {name!r}; there are {', '.join(inputs) or 'none'}")
    return [inputs[each] for each in found]


def _numbered(name: str) -> list[tuple[int, str]]:
    return [(int(s), "") if s.isdigit() else (-1, s) for s in re.split(r"(\d+)", name)]
