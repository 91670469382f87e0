"""Which model answers: what of a checkpoint decides its completions, as one hash.

Weights, configuration, chat and stop tokens; a file beside them that says nothing of these leaves
it as it is. Reads manifests and small files, never the weights; knows no engine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

WEIGHTS = ".safetensors"
_UNREAD = ("transformers_version", "_name_or_path")  # of config.json: who wrote it, and where


@dataclass(frozen=True)
class Names:
    """What a model is called in the keys of requests, and what it was called before."""

    now: str
    former: Callable[[], Sequence[str]] = tuple


class Checkpoint(Protocol):
    """An artifact that holds a checkpoint folder."""

    @property
    def key(self) -> str:
        """Its asset key."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Its record, with the hash of every file."""

    @property
    def data_version(self) -> str:
        """The hash of its whole content."""

    def path(self, name: str = "") -> Path:
        """The verified local folder."""


def identity(checkpoint: Checkpoint) -> str:
    """The hash that stands for the model in a request's key.

    The weights' part is the hashes that the manifest records, so no weight is read for it.
    """
    from resources.chat import folder as chats

    folder = checkpoint.path()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parts = {
        "weights": _weights(checkpoint.manifest),
        "config": {name: value for name, value in config.items() if name not in _UNREAD},
        "chat": chats.digest(folder),
        "stops": sorted(set(chats.stop_tokens(folder))),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def former(checkpoint: Checkpoint, home: str | None) -> list[str]:
    """The data versions that stood in the keys of the same model's requests until now.

    The checkpoint's own, and in `home` those of every version with equal weights and the same
    identity, the newest first.
    """
    own = [checkpoint.data_version]
    if home is None:
        return own
    from warehouse.store import Store

    store, weights, name = Store(home), _weights(checkpoint.manifest), identity(checkpoint)
    alike = [each for each in store.manifests() if _weights(each) == weights]
    alike.sort(key=lambda each: str(each["observations"]["materialized_at"]), reverse=True)
    there = [store.artifact(each) for each in alike if store.damage(each) is None]
    return list(dict.fromkeys(own + [a.data_version for a in there if identity(a) == name]))


def _weights(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each file of weights."""
    files = manifest["files"].items()
    return {name: str(entry["sha256"]) for name, entry in files if name.endswith(WEIGHTS)}
