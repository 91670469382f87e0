"""Tiny random checkpoint folders: one of each family as `transformers` writes it, and ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
# Name: model class prefix of `transformers`, and what its configuration adds to the sizes.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama_2": ("Llama", {"num_key_value_heads": 4, "tie_word_embeddings": False}),
    "llama_3": ("Llama", {"rope_parameters": LLAMA_3_ROPE, "tie_word_embeddings": True}),
    "llama_biased": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("Mistral", {"head_dim": 6, "sliding_window": None}),
    "mistral_wide_window": ("Mistral", {"sliding_window": 128}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2_untied": ("Qwen2", {"use_sliding_window": True, "sliding_window": 128}),
    "llama_yarn": ("Llama", {"rope_parameters": YARN, "head_dim": 10}),
    "llama_linear": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
    ),
    "mistral_window": ("Mistral", {"sliding_window": 5}),
    "qwen2_window": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3", {"head_dim": 6, "tie_word_embeddings": True}),
    "qwen3_window": (
        "Qwen3",
        {
            "head_dim": 8,
            "use_sliding_window": True,
            "sliding_window": 7,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "smollm3": ("SmolLM3", {"no_rope_layer_interval": 2}),
    "smollm3_window": (
        "SmolLM3",
        {"no_rope_layers": [0, 1, 1], "use_sliding_window": True, "sliding_window": 4},
    ),
}
BLOCKS: list[dict[str, Any]] = [
    {"attention": {"kind": "noop"}},
    {"attention": {"kind": "linear"}, "ffn": {"intermediate_size": 7}},
    {"attention": {"num_key_value_heads": 1}, "ffn": {"kind": "linear"}},
    {"attention": {"kind": "noop"}, "ffn": {"kind": "noop"}},
    {"ffn": {"kind": "noop"}},
]


def fill(model: Any, seed: int = 0) -> Any:
    """Random weights, norms and biases included, wide enough that every part shows."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return model.eval()


def theirs(name: str, **changes: Any) -> Any:
    """A random `transformers` model of one of `FAMILIES`."""
    import transformers

    prefix, values = FAMILIES[name]
    config = getattr(transformers, f"{prefix}Config")(**{**SIZES, **values, **changes})
    return fill(getattr(transformers, f"{prefix}ForCausalLM")(config))


def heterogeneous(**changes: Any) -> HeterogeneousDecoderForCausalLM:
    """A random model of ours, by default with one layer of each kind of `BLOCKS`."""
    values = {**SIZES, "num_hidden_layers": len(BLOCKS), "block_configs": BLOCKS, **changes}
    model: HeterogeneousDecoderForCausalLM = fill(
        HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values))
    )
    return model


def save(model: Any, folder: Path, shard: str = "5GB") -> Path:
    """Writes the folder as `transformers` does; `shard` is the largest size of a file."""
    model.save_pretrained(folder, max_shard_size=shard)
    return folder
