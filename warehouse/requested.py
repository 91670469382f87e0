"""The view `requests`: what the answers of models took, for each current asset that asked for any.

Read from what builds recorded beside their content; knows no engine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

NAME = "requests"
SCHEMA = pa.schema(
    [
        ("role", pa.string()),
        ("model", pa.string()),
        ("model_version", pa.string()),
        ("requests", pa.int64()),
        ("asked", pa.int64()),
        ("cached", pa.int64()),
        ("failed", pa.int64()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("tokens", pa.int64()),
        ("cost", pa.float64()),
        ("seconds", pa.float64()),
        ("engine", pa.string()),
        ("asset_key", pa.string()),
        ("data_version", pa.string()),
    ]
)


def table(manifests: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A row for each role that an asset asked; `engine` is JSON. Older records are passed over."""
    rows = []
    for manifest in manifests:
        taken = manifest["observations"].get(NAME)
        for each in taken if isinstance(taken, list) else ():
            row = {name: each.get(name) for name in SCHEMA.names}
            row["engine"] = json.dumps(each.get("engine"), sort_keys=True)
            row["asset_key"] = manifest["asset_key"]
            row["data_version"] = manifest["data_version"]
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)
