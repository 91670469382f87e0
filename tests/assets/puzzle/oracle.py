"""A search problem of four layers whose optima are enumerated: `mip_tiny.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

ORACLE = json.loads((Path(__file__).parent / "mip_tiny.json").read_text())
COLUMNS = ("kl", "mem", "rt", "params")


def library() -> list[dict[str, Any]]:
    return [
        {"layer": int(layer[1:]), "variant": variant, **dict(zip(COLUMNS, values, strict=True))}
        for layer, variants in ORACLE["library"].items()
        for variant, values in variants.items()
    ]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


TINY = table(library())
