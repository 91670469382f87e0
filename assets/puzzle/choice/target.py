"""What a target cannot run: variants to take out before the search, each with its reason.

Applies the limits of serving engines (`resources/models/export/limits.py`) to variants by name;
knows nothing of scores or solvers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from resources.models.accounting import Shape
from resources.models.export.limits import (
    attention_reason,
    ffn_reason,
    model_shape_reasons,
    order_reason,
)
from resources.models.variants import block_config

Candidate = tuple[int, str, str]

REMOVED_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("layer", pa.int64()),
        ("attention", pa.string()),
        ("ffn", pa.string()),
        ("reason", pa.string()),
    ]
)


def unrunnable(
    target: Mapping[str, Any], shape: Shape, candidates: Iterable[Candidate]
) -> list[tuple[int, str, str, str]]:
    """The candidates (layer, attention, ffn) that a target cannot run, each with the first reason.

    Args:
        target: `engine` (one of the limits', or transformers, which runs everything),
            `tensor_parallel`, `dtype`.
        shape: the parent's sizes, from which variant names get theirs.

    Raises:
        ValueError: no choice of blocks makes the model run there: tensor parallelism does not
            divide the query heads, a layer is left without a candidate, or the model without an
            attention that has keys and values.
    """
    candidates = list(candidates)
    if target["engine"] == "transformers":
        return []
    parallel = target["tensor_parallel"]
    if shape.num_attention_heads % parallel:
        raise ValueError(
            f"target: tensor_parallel {parallel} does not divide the parent's "
            f"{shape.num_attention_heads} query heads; choose a divisor of them"
        )
    whole = model_shape_reasons(target["engine"], shape.qk_norm)
    if whole:
        raise ValueError(f"target: {'; '.join(whole)}; let it be served by engine vllm_plugin")
    removed = []
    left: dict[int, list[Candidate]] = {layer: [] for layer, _, _ in candidates}
    for layer, attention, ffn in candidates:
        reason = _reason(target, shape, layer, attention, ffn)
        if reason:
            removed.append((layer, attention, ffn, reason))
        else:
            left[layer].append((layer, attention, ffn))
    for layer, kept in left.items():
        if not kept:
            reasons = sorted({reason for at, _, _, reason in removed if at == layer})
            raise ValueError(
                f"target: layer {layer} has no candidate that {target['engine']} can run with "
                f"tensor_parallel {parallel} in {target['dtype']}: {'; '.join(reasons)}"
            )
    if all(attention == "noop" for kept in left.values() for _, attention, _ in kept):
        raise ValueError(
            f"target: {target['engine']} needs an attention in at least one layer (its key-value "
            "heads size the cache), and no candidate has one"
        )
    return removed


def removed_table(model: str, removed: Iterable[tuple[int, str, str, str]]) -> pa.Table:
    """The `removed_variants` rows of a model."""
    names = REMOVED_SCHEMA.names[1:]
    rows = [{"model": model, **dict(zip(names, row, strict=True))} for row in removed]
    return pa.Table.from_pylist(rows, schema=REMOVED_SCHEMA)


def _reason(
    target: Mapping[str, Any], shape: Shape, layer: int, attention: str, ffn: str
) -> str | None:
    """The first reason against a layer of these variants, None where the target can run it."""
    block = block_config(
        attention,
        ffn,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        intermediate_size=shape.intermediate_size,
    )
    if shape.window is not None and block["attention"]["kind"] == "full":
        block["attention"]["window"] = shape.window
    engine, parallel, dtype = target["engine"], target["tensor_parallel"], target["dtype"]
    return (
        attention_reason(engine, block["attention"], shape.head_dim, parallel, dtype)
        or ffn_reason(engine, block["ffn"], parallel, dtype)
        or (order_reason(engine, [block]) if layer == 0 else None)
    )
