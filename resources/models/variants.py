"""Names of block variants, and the block configurations they stand for.

An attention variant is `full`, `kv_<n>` (n key-value heads), `linear` or `noop`; an FFN variant is
`full`, `ratio_<percent>` (of the parent's intermediate size), `linear` or `noop`. This module knows
the names and the parent's two sizes, nothing of weights.
"""

from __future__ import annotations

import re
from typing import Any, NotRequired, TypedDict

_ATTENTION = re.compile(r"^(full|linear|noop|kv_([1-9]\d*))$")
_FFN = re.compile(r"^(full|linear|noop|ratio_(\d+(?:\.\d+)?))$")


class AttentionConfig(TypedDict):
    """`kind` is "full", "linear" or "noop"; heads are given for "full" only.

    A full one may attend to the last `window` positions only, or go without `rope`.
    """

    kind: str
    num_key_value_heads: int | None
    window: NotRequired[int]
    rope: NotRequired[bool]


class FfnConfig(TypedDict):
    """`kind` is "full", "linear" or "noop"; the width is given for "full" only."""

    kind: str
    intermediate_size: int | None


class BlockConfig(TypedDict):
    """One layer of a heterogeneous model."""

    attention: AttentionConfig
    ffn: FfnConfig


def parse_attention(variant: str, num_attention_heads: int, parent_heads: int) -> AttentionConfig:
    """The attention configuration a variant name stands for.

    `parent_heads` is the parent's number of key-value heads (what `full` means).
    Raises ValueError for an unknown name, or when the key-value heads do not divide the query
    heads or exceed the parent's.

    >>> parse_attention("kv_1", 4, 2)
    {'kind': 'full', 'num_key_value_heads': 1}
    """
    match = _ATTENTION.match(variant)
    if match is None:
        raise ValueError(
            f"attention variant {variant!r} is unknown: use full, kv_<n>, linear or noop"
        )
    if variant in ("linear", "noop"):
        return {"kind": variant, "num_key_value_heads": None}
    heads = parent_heads if variant == "full" else int(match.group(2))
    if num_attention_heads % heads:
        raise ValueError(
            f"attention variant {variant!r}: {heads} key-value heads do not divide "
            f"{num_attention_heads} query heads"
        )
    if heads > parent_heads:
        raise ValueError(
            f"attention variant {variant!r}: the parent has only {parent_heads} key-value heads"
        )
    return {"kind": "full", "num_key_value_heads": heads}


def parse_ffn(variant: str, parent_size: int) -> FfnConfig:
    """The FFN configuration a variant name stands for; `parent_size` is the parent's width.

    The width is rounded to the nearest whole channel. Raises ValueError for an unknown name or
    a ratio that leaves no channel (write `noop` for that).

    >>> parse_ffn("ratio_50", 384)
    {'kind': 'full', 'intermediate_size': 192}
    """
    match = _FFN.match(variant)
    if match is None:
        raise ValueError(
            f"FFN variant {variant!r} is unknown: use full, ratio_<percent>, linear or noop"
        )
    if variant in ("linear", "noop"):
        return {"kind": variant, "intermediate_size": None}
    size = parent_size if variant == "full" else round(parent_size * float(match.group(2)) / 100)
    if size < 1:
        raise ValueError(f"FFN variant {variant!r} leaves no channel of {parent_size}: use noop")
    return {"kind": "full", "intermediate_size": size}


def attention_name(config: AttentionConfig | dict[str, Any], parent_heads: int) -> str:
    """The variant name of an attention configuration, the inverse of `parse_attention`.

    >>> attention_name({"kind": "full", "num_key_value_heads": 1}, parent_heads=2)
    'kv_1'
    """
    if config["kind"] != "full":
        return str(config["kind"])
    heads = config["num_key_value_heads"]
    return "full" if heads == parent_heads else f"kv_{heads}"


def ffn_name(config: FfnConfig | dict[str, Any], parent_size: int) -> str:
    """The variant name of an FFN configuration, the inverse of `parse_ffn`.

    A fused FFN is wider than its parent: its ratio is above 100.

    >>> ffn_name({"kind": "full", "intermediate_size": 96}, parent_size=384)
    'ratio_25'
    """
    if config["kind"] != "full":
        return str(config["kind"])
    size = config["intermediate_size"]
    if size is None:
        raise ValueError("a full FFN needs intermediate_size")
    return "full" if size == parent_size else f"ratio_{100 * size / parent_size:.10g}"


def block_config(
    attention: str,
    ffn: str,
    *,
    num_attention_heads: int,
    num_key_value_heads: int,
    intermediate_size: int,
) -> BlockConfig:
    """The block configuration of a pair of variant names, given the parent's sizes."""
    return {
        "attention": parse_attention(attention, num_attention_heads, num_key_value_heads),
        "ffn": parse_ffn(ffn, intermediate_size),
    }
