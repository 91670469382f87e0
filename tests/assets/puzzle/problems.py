"""Hand-made scores, costs and cost profiles for the tests of the search problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from assets.puzzle.costs.closed_form import COST_SCHEMA
from resources.recipe.sections.search import Search

Pair = tuple[str, str]


def recipe(limits: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A search section as assets get it."""
    values = {
        "limits": dict(limits),
        "objective": "kl",
        "fixed": [],
        "forbidden": [],
        "max_noops": None,
        "max_distinct": None,
        "time_limit": 60,
    }
    return Search.model_validate(values | changes).model_dump(mode="json")


def score_table(values: Mapping[tuple[int, str, str], float]) -> pa.Table:
    """`block_scores` of (layer, attention, ffn) → value."""
    return pa.Table.from_pylist(
        [
            {"model": "m", "layer": layer, "attention": a, "ffn": f, "metric": "kl"}
            | {"value": float(value), "ci_low": 0.0, "ci_high": 1.0, "samples": 4}
            for (layer, a, f), value in values.items()
        ]
    )


def cost_table(
    layers: int, pairs: Mapping[Pair, tuple[int, int]], *, batch: int = 1, context: int = 1
) -> pa.Table:
    """`block_costs` of (attention, ffn) → (parameters, KV bytes a token), 1 byte a weight."""
    return pa.Table.from_pylist(
        [
            {
                "model": "m",
                "layer": layer,
                "attention": a,
                "ffn": f,
                "parameters": weights,
                "weight_bytes": weights,
                "kv_bytes_per_token": keys,
                "activation_bytes": 0,
                "memory_bytes": weights + batch * context * keys,
                "batch": batch,
                "prefill_length": context,
            }
            for layer in range(layers)
            for (a, f), (weights, keys) in pairs.items()
        ],
        schema=COST_SCHEMA,
    )


def profile(
    layers: int,
    seconds: Mapping[Pair, Mapping[int, tuple[float, float]]],
    *,
    decode: int = 1,
    rest: tuple[float, float] = (0.0, 0.0),
    ffns: Sequence[dict[str, Any]] = (),
) -> dict[str, pa.Table]:
    """The tables of a cost profile of (attention, ffn) → batch → (prefill, decode step)."""
    batches = {batch for by_batch in seconds.values() for batch in by_batch}
    return {
        "block_costs": pa.Table.from_pylist(
            [
                {
                    "layer": layer,
                    "attention": a,
                    "ffn": f,
                    "prefill_seconds": prefill,
                    "decode_seconds": step,
                    "batch": batch,
                    "decode_length": decode,
                    "hardware": "abacus",
                }
                for layer in range(layers)
                for (a, f), by_batch in seconds.items()
                for batch, (prefill, step) in by_batch.items()
            ],
            schema=COST_SCHEMA,
        ),
        "non_block_seconds": pa.Table.from_pylist(
            [
                {"batch": batch, "prefill_seconds": rest[0], "decode_seconds": rest[1]}
                for batch in sorted(batches)
            ]
        ),
        "sub_block_seconds": pa.Table.from_pylist(
            list(ffns),
            schema=pa.schema(
                [
                    ("kind", pa.string()),
                    ("variant", pa.string()),
                    ("batch", pa.int64()),
                    ("prefill_seconds", pa.float64()),
                    ("decode_seconds", pa.float64()),
                ]
            ),
        ),
    }
