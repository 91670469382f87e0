"""Qwen2 and 2.5, and DeepSeek's Qwen distills: biases on queries, keys and values alone.

A sliding window, where it is switched on, holds from layer `max_window_layers` on, or in the layers
that `layer_types` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resources.models.families.family import (
    FULL,
    SLIDING,
    Attention,
    Family,
    Values,
    none_slides,
    slides,
    sliding_keys,
)
from resources.models.families.mistral import NO_BIAS

DEFAULTS = {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "bos_token_id": None,
    "eos_token_id": None,
    "sliding_window": 4096,
    "max_window_layers": 28,
}


def attention(values: Values) -> list[Attention]:
    """Each layer's window; Qwen3 has the same keys."""
    if not values.get("use_sliding_window") or values["sliding_window"] is None:
        return none_slides(values)
    layers, first = values["num_hidden_layers"], values["max_window_layers"]
    types = values.get("layer_types")
    return slides(values, types or [SLIDING if i >= first else FULL for i in range(layers)])


def plain(config: Values, layers: Sequence[Attention | None]) -> dict[str, Any]:
    """The windows under the family's keys."""
    return {**sliding_keys(layers), "max_window_layers": len(layers)}


FAMILY = Family(
    "qwen2",
    "Qwen2ForCausalLM",
    defaults=DEFAULTS,
    fixed={**NO_BIAS, "qkv_bias": True},
    attention=attention,
    plain=plain,
)
