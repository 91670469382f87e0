"""Configuration of the heterogeneous decoder: Llama's fields plus one entry a layer.

It checks shapes, so that a wrong architecture fails here with the layer named and not inside a
matrix product. It does not know weights.
"""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig

from resources.models.description import block_configs

# What a layer has where its entry does not say it.
SIZES = (
    *("num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    "intermediate_size",
)


@strict
class HeterogeneousDecoderConfig(LlamaConfig):
    """Llama whose layers differ: `block_configs[i]` says what layer i holds.

    Each entry is `{"attention": {"kind", "num_key_value_heads"}, "ffn": {"kind",
    "intermediate_size"}}` with kind "full" (softmax attention, SwiGLU), "linear" (one matrix) or
    "noop" (nothing, its norm included). Left out, every layer is full with the global sizes.
    A full attention may also have a `window` (positions a token attends to, itself included) and
    `rope` false (no rotary embedding). The global `num_key_value_heads` and `intermediate_size`
    are the parent's. `attention_bias` gives all four projections of attention a bias, `qkv_bias`
    (Qwen2) all but the output's; `qk_norm` (Qwen3) normalises the queries and keys of each head.
    `family` is the parent's model type where it is not Llama.
    """

    model_type = "heterogeneous_llama"  # the name that saved checkpoints carry
    qkv_bias: bool = False
    qk_norm: bool = False
    family: str | None = None
    block_configs: list[Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.attention_dropout:
            raise ValueError("attention_dropout is not supported: use 0")
        sizes = {name: getattr(self, name) for name in SIZES}
        self.block_configs = block_configs(self.block_configs, sizes)

    def validate_architecture(self) -> None:
        """Heads may have a size of their own, so they need not divide the hidden size."""
