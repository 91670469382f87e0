"""A random model with everything that an export has to get right."""

from __future__ import annotations

from typing import Any

import torch

from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM

NOOP = {"kind": "noop"}


def random(**changes: Any) -> HeterogeneousDecoderForCausalLM:
    """No-ops of every kind, 1, 2 and 4 key-value heads, odd, fused-wide and 256-fold widths."""
    blocks = [
        {},
        {"attention": NOOP, "ffn": {"intermediate_size": 77}},
        {"attention": {"num_key_value_heads": 1}, "ffn": {"intermediate_size": 256}},
        {"attention": NOOP, "ffn": NOOP},
        {"attention": {"num_key_value_heads": 4}, "ffn": NOOP},
        {"attention": NOOP, "ffn": {"intermediate_size": 200}},
    ]
    values: dict[str, Any] = {
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 128,
        "bos_token_id": 0,
        "eos_token_id": 3,
        "block_configs": blocks,
    }
    torch.manual_seed(0)
    values |= changes
    values["num_hidden_layers"] = len(values["block_configs"])
    model = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values))
    with torch.no_grad():
        for weight in model.parameters():  # biases and norms too, so that a lost one shows
            weight.copy_(torch.randn_like(weight) * 0.2 + (weight.dim() == 1))
    return model.eval()
