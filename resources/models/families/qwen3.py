"""Qwen3, dense: queries and keys are normalised per head; otherwise Qwen2's windows, no biases."""

from __future__ import annotations

from resources.models.families.family import Family
from resources.models.families.qwen2 import DEFAULTS, attention, plain

FAMILY = Family(
    "qwen3",
    "Qwen3ForCausalLM",
    defaults={**DEFAULTS, "head_dim": 128},
    fixed={"qkv_bias": False, "mlp_bias": False, "qk_norm": True},
    attention=attention,
    plain=plain,
)
