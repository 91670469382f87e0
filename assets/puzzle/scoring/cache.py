"""Scores kept by content, so that what was scored once, of the same weights and tokens, is read.

A file holds the per-sequence values of one layer and batch, an entry a replacement's digest; one
that is damaged counts as absent. Knows digests and arrays; knows nothing of models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from warehouse.files.filesystem import replacing

VERSION = 1  # raise it when a metric's definition changes


class ScoreCache:
    """Values `[M, N]` (metrics, sequences) by layer, tokens and replacement, for one parent."""

    def __init__(self, folder: Path, parent: str, metrics: Sequence[str], k: int) -> None:
        """`parent` is the digest of the whole parent, which every score depends on."""
        self.folder = folder
        self._fixed = [VERSION, parent, list(metrics), k if "top_k" in metrics else None]
        self._metrics = len(metrics)
        self.computed = 0  # sequences of children that were not in the cache

    def read(self, layer: int, tokens: str, samples: int) -> dict[str, np.ndarray]:
        """The known values `[M, samples]` by replacement, for a layer and the tokens' digest."""
        try:
            with np.load(self._file(layer, tokens), allow_pickle=False) as stored:
                names, values = stored["names"], stored["values"]
                intact = str(stored["checksum"]) == _checksum(names, values)
        except Exception:  # no file, or whatever a damaged one raises: it is scored again
            return {}
        shape = (len(names), self._metrics, samples)
        if not intact or values.shape != shape or not np.isfinite(values).all():
            return {}
        return dict(zip(map(str, names), values, strict=True))

    def write(self, layer: int, tokens: str, values: Mapping[str, np.ndarray]) -> None:
        """Adds values `[M, samples]` by replacement; a file is whole or not there at all."""
        if not values:
            return
        samples = next(iter(values.values())).shape[-1]
        self.computed += samples * len(values)
        merged = self.read(layer, tokens, samples) | dict(values)
        names, stacked = np.array(list(merged)), np.stack(list(merged.values()))
        with replacing(self._file(layer, tokens)) as aside:
            np.savez(aside, names=names, values=stacked, checksum=_checksum(names, stacked))

    def _file(self, layer: int, tokens: str) -> Path:
        key = hashlib.sha256(json.dumps([*self._fixed, layer, tokens]).encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.npz"


def _checksum(names: np.ndarray, values: np.ndarray) -> str:
    total = hashlib.sha256("\n".join(map(str, names)).encode())
    total.update(np.ascontiguousarray(values).tobytes())
    return total.hexdigest()
