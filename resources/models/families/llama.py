"""Llama 1 to 3.3, and what is stored as one: Yi, TinyLlama, SmolLM2, DeepSeek's Llama distills.

Rotary scaling, tied embeddings, a head size of its own and biases are Llama's own keys, which every
configuration here has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resources.models.families.family import Attention, Family, Values


def _plain(config: Values, layers: Sequence[Attention | None]) -> dict[str, Any]:
    # Llama has a bias on all four projections or on none.
    return {"attention_bias": config["attention_bias"] or config["qkv_bias"]}


FAMILY = Family("llama", "LlamaForCausalLM", fixed={"qkv_bias": False}, plain=_plain)
