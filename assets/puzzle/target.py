"""What a target cannot run: variants to take out before the search, each with its reason.

Knows the limits of serving engines, tensor parallelism and number formats as rules over sizes (what
stock vLLM accepts was tried on its `DeciLMForCausalLM`); knows nothing of scores or solvers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from resources.models.accounting import Shape
from resources.models.variants import parse_attention, parse_ffn

Candidate = tuple[int, str, str]
STEP = 256  # `ffn_mult` of the nemotron-nas layout rounds widths up to a multiple of this
FLOAT8_STEP = 16  # rows and columns of a float8 matrix product

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
        target: `engine` (vllm, nemotron_nas or transformers), `tensor_parallel`, `dtype`.
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
    removed = []
    left: dict[int, list[Candidate]] = {layer: [] for layer, _, _ in candidates}
    for layer, attention, ffn in candidates:
        reason = (
            _attention_reason(target, shape, attention)
            or _ffn_reason(target, shape, ffn)
            or _order_reason(target, layer, attention, ffn)
        )
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


def _attention_reason(target: Mapping[str, Any], shape: Shape, name: str) -> str | None:
    part = parse_attention(name, shape.num_attention_heads, shape.num_key_value_heads)
    if part["kind"] == "linear":
        return f"{target['engine']} has no linear attention"
    heads, parallel = part["num_key_value_heads"], target["tensor_parallel"]
    if heads is None:
        return None
    if heads % parallel and parallel % heads:
        return f"{heads} key-value heads and tensor_parallel {parallel} do not divide each other"
    size = max(heads // parallel, 1) * shape.head_dim
    if target["dtype"] == "float8" and size % FLOAT8_STEP:
        return f"{size} key numbers a rank are no multiple of {FLOAT8_STEP}, which float8 needs"
    return None


def _ffn_reason(target: Mapping[str, Any], shape: Shape, name: str) -> str | None:
    part = parse_ffn(name, shape.intermediate_size)
    if part["kind"] == "linear":
        return f"{target['engine']} has no linear FFN"
    width, parallel = part["intermediate_size"], target["tensor_parallel"]
    if width is None:
        return None
    if target["engine"] == "nemotron_nas" and width % STEP:
        return f"width {width} is no multiple of {STEP}: ffn_mult would round it"
    if width % parallel:
        return f"width {width} cannot be split over tensor_parallel {parallel}"
    if target["dtype"] == "float8" and width // parallel % FLOAT8_STEP:
        return (
            f"width {width // parallel} a rank is no multiple of {FLOAT8_STEP}, which float8 needs"
        )
    return None


def _order_reason(target: Mapping[str, Any], layer: int, attention: str, ffn: str) -> str | None:
    # vLLM makes the residual stream in the first attention branch that runs.
    if layer == 0 and attention == "noop" and ffn != "noop":
        return f"{target['engine']} fails on a first layer with an FFN but no attention"
    return None
