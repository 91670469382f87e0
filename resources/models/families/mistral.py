"""Mistral: Llama without biases, and with one sliding window in all layers where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resources.models.families.family import SLIDING, Attention, Family, Values, slides, window_of

NO_BIAS = {"attention_bias": False, "qkv_bias": False, "mlp_bias": False}


def _attention(values: Values) -> list[Attention]:
    types = values.get("layer_types")
    if values["sliding_window"] is None:
        return []
    if types is not None and set(types) != {SLIDING}:
        # Its class in transformers ignores the list and slides everywhere; others alternate.
        raise ValueError(
            "layer_types of a mistral: a mix of sliding and full attention is unknown to it"
        )
    return slides(values, [SLIDING] * values["num_hidden_layers"])


def _plain(config: Values, layers: Sequence[Attention | None]) -> dict[str, Any]:
    there = [layer for layer in layers if layer is not None]
    window = window_of(layers)
    if window is not None and not all("window" in layer for layer in there):
        raise ValueError("layers with and without a sliding window: Mistral knows one for all")
    return {"sliding_window": window}


FAMILY = Family(
    "mistral",
    "MistralForCausalLM",
    defaults={
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    fixed=NO_BIAS,
    attention=_attention,
    plain=_plain,
)
