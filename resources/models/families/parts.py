"""What a configuration may ask for that no supported family computes, by the keys that ask for it.

A model is refused from its configuration alone, and told which part of it is unknown. It does not
know families or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A part of a model, the keys that ask for it, and the values with which they do not."""

    name: str
    keys: tuple[str, ...]
    neutral: tuple[Any, ...] = ()

    def asked(self, values: Values) -> tuple[str, Any] | None:
        """The first key that asks for it, with its value."""
        for key in self.keys:
            value = values.get(key)
            if value and value not in self.neutral:
                return key, value
        return None


PARTS = (
    Part("quantized weights", ("quantization_config", "compression_config", "quantization")),
    Part(
        "a mixture of experts",
        (
            *("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
            *("moe_intermediate_size", "num_experts_per_tok"),
        ),
    ),
    Part("latent attention (MLA)", ("kv_lora_rank", "q_lora_rank", "qk_rope_head_dim")),
    Part(
        "state-space, convolution or linear-attention layers",
        (
            *("ssm_cfg", "state_size", "mamba_d_state", "mamba_d_ssm", "ssm_state_size"),
            *(
                "hybrid_override_pattern",
                "layers_block_type",
                "attn_layer_indices",
                "attn_layer_id",
            ),
            *("full_attention_interval", "full_attn_idxs", "conv_L_cache", "linear_num_key_heads"),
            *("attn_type_list", "lru_width", "block_types", "layer_group_size"),
        ),
    ),
    Part(
        "rotary embedding of a part of each head",
        ("partial_rotary_factor", "rotary_pct", "rotary_emb_fraction"),
        neutral=(1, 1.0),
    ),
    Part(
        "logit soft-capping",
        (
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "logit_softcapping",
            "logits_soft_cap",
        ),
    ),
    Part(
        "embedding scaling",
        ("embedding_multiplier", "scale_emb", "embedding_scale", "scale_embeddings"),
        neutral=(1, 1.0),
    ),
    Part(
        "scaled logits",
        ("logits_scaling", "logit_scale", "lm_head_multiplier", "dim_model_base"),
        neutral=(1, 1.0),
    ),
    Part("scaled residuals", ("residual_multiplier", "scale_depth"), neutral=(1, 1.0)),
    Part(
        "scaled attention scores",
        ("attention_multiplier", "query_pre_attn_scalar", "attn_temperature_tuning"),
        neutral=(1, 1.0),
    ),
    Part(
        "normalised queries and keys",
        ("use_qk_norm", "qk_norm", "qk_layernorm", "use_qk_layernorm", "use_query_key_norm"),
    ),
    Part(
        "layers that predict further tokens",
        ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers"),
    ),
    Part("attention in chunks", ("attention_chunk_size",)),
    Part("global attention in some layers", ("sliding_window_pattern", "_sliding_window_pattern")),
    Part(
        "attention and FFN in parallel",
        ("use_parallel_residual", "parallel_attn", "parallel_residual", "new_decoder_architecture"),
    ),
    Part(
        "position biases in place of rotary embedding", ("alibi", "use_alibi", "relative_attention")
    ),
    Part("clipped projections", ("clip_qkv", "qkv_clip")),
    Part(
        "keys and values shared by layers", ("num_kv_shared_layers", "cla_share_factor", "use_cla")
    ),
    Part("attention in both directions", ("use_bidirectional_attention",)),
    Part(
        "sizes that differ by layer",
        ("per_layer_config", "block_configs", "num_query_heads", "num_key_value_heads_per_layer"),
    ),
    Part(
        "a part for images or sound",
        ("vision_config", "audio_config", "text_config", "thinker_config", "llm_config"),
    ),
    Part("an encoder", ("is_encoder_decoder", "add_cross_attention", "encoder_layers")),
)

# Rotary types computed here, with the keys each needs besides `rope_theta`.
ROPE_NEEDS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}
_ROPE_KEYS = {
    *("rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"),
    *("low_freq_factor", "high_freq_factor", "attention_factor", "beta_fast", "beta_slow"),
    *("mscale", "mscale_all_dim", "truncate", "finetuned", "partial_rotary_factor"),
}
# What FFNs may have between their matrices; all without parameters of their own.
ACTIVATIONS = (
    *("silu", "swish", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu"),
    *("relu", "relu2", "mish", "tanh", "sigmoid"),
)
_SIZES = ("num_key_value_heads", "intermediate_size", "num_attention_heads", "head_dim")


def unknown_parts(values: Values, known: Set[str] = frozenset()) -> list[str]:
    """What the values ask for that is not computed here, each with the key that asks for it.

    `known` are keys that a family computes after all.
    """
    found = []
    for part in PARTS:
        asked = part.asked({key: value for key, value in values.items() if key not in known})
        if asked is not None:
            found.append(f"{part.name} ({_said(*asked)})")
    found += [
        f"sizes that differ by layer ({key})" for key in _SIZES if isinstance(values.get(key), list)
    ]
    if values.get("is_causal") is False:
        found.append("attention in both directions (is_causal: False)")
    for key in ("hidden_act", "hidden_activation"):
        activation = values.get(key)
        if activation is not None and activation not in ACTIVATIONS:
            found.append(f"the activation {key}: {activation!r}")
    return found + unknown_rope(values)


def unknown_rope(values: Values) -> list[str]:
    """What is not computed here of a configuration's rotary embedding."""
    # Where both stand, transformers takes the older one.
    rope = values.get("rope_scaling") or values.get("rope_parameters") or {}
    if not isinstance(rope, Mapping):
        return [f"rotary embedding of {rope!r}"]
    if any(isinstance(value, Mapping) for value in rope.values()):
        return ["rotary embedding that differs by kind of layer"]
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in ROPE_NEEDS:
        return [f"the rotary embedding rope_type: {kind!r} (known: {', '.join(ROPE_NEEDS)})"]
    strange = [key for key in rope if key not in _ROPE_KEYS and rope[key]]
    if strange:
        return [f"rotary embedding with {strange[0]}: {rope[strange[0]]!r}"]
    part = "partial_rotary_factor"
    if rope.get(part) not in (None, 1, 1.0) and values.get(part) in (None, 1, 1.0):
        return [f"rotary embedding of {rope['partial_rotary_factor']} of each head"]
    missing = [key for key in ROPE_NEEDS[kind] if rope.get(key) is None]
    return [f"rotary embedding of type {kind} without {missing[0]}"] if missing else []


def _said(key: str, value: Any) -> str:
    """A key with its value where that is short."""
    return f"{key}: {value!r}" if isinstance(value, int | float | str) else key
