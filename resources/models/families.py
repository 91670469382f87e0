"""Model families whose layers are Llama's: how each says so in its `config.json`, and where its
parts lie.

A family is a descriptor here; everything else sees only the heterogeneous decoder. It does not know
files or tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from resources.models import nemotron_nas_layout

# All supported families store their parts under Llama's names, so the names stand here once.
EMBEDDING, NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"

# About the file or about windows, which no supported model has: none of these is the model's.
_LEFT_OUT = (
    *("architectures", "model_type", "transformers_version", "auto_map"),
    *("sliding_window", "use_sliding_window", "max_window_layers", "layer_types"),
)
_QK_NORM = "it normalises queries and keys, which a Llama layer does not"
_EXPERTS = "its FFNs are mixtures of experts"
_REASONS = {
    "qwen3": _QK_NORM,
    "olmo2": _QK_NORM,
    "gemma": "it scales its embeddings and shifts its norms",
    "gemma2": "it scales its embeddings and has further norms in each layer",
    "gemma3_text": "it scales its embeddings and has further norms in each layer",
    "phi3": "it stores queries, keys and values as one matrix",
}
_EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts")


def layer_prefix(layer: int) -> str:
    """What the tensor names of a layer begin with; after it come the names of the block.

    >>> layer_prefix(3)
    'model.layers.3.'
    """
    return f"model.layers.{layer}."


@dataclass(frozen=True)
class Family:
    """One family: what its `config.json` leaves unsaid.

    `defaults` are the values of its configuration class that differ from Llama's and hold when
    a key is absent; `fixed` is what its layers always have; `window` gives the number of positions
    a token attends to where a sliding window is switched on, else None. `translate` gives the
    values under Llama's keys where the family has other ones.
    """

    model_type: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    window: Callable[[Mapping[str, Any]], int | None] = lambda values: None
    translate: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict


def _qwen2_window(values: Mapping[str, Any]) -> int | None:
    """Qwen2 slides in the layers from `max_window_layers` on, or in those of `layer_types`."""
    if not values.get("use_sliding_window"):
        return None
    types = values.get("layer_types")
    slides = (
        values["max_window_layers"] < values["num_hidden_layers"]
        if types is None
        else "sliding_attention" in types
    )
    return values["sliding_window"] if slides else None


_NO_BIAS = {"attention_bias": False, "qkv_bias": False, "mlp_bias": False}
_FAMILIES = (
    Family("llama", fixed={"qkv_bias": False}),
    Family(
        "mistral",
        defaults={
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "sliding_window": 4096,
        },
        fixed=_NO_BIAS,
        window=lambda values: values["sliding_window"],
    ),
    Family(
        "qwen2",
        defaults={
            "vocab_size": 151936,
            "intermediate_size": 22016,
            "num_hidden_layers": 32,
            "num_key_value_heads": 32,
            "max_position_embeddings": 32768,
            "bos_token_id": None,
            "eos_token_id": None,
            "sliding_window": 4096,
            "max_window_layers": 28,
        },
        fixed={**_NO_BIAS, "qkv_bias": True},
        window=_qwen2_window,
    ),
    Family(nemotron_nas_layout.FAMILY, translate=nemotron_nas_layout.convert),
    Family("heterogeneous_llama"),
)
FAMILIES = {family.model_type: family for family in _FAMILIES}


def convert(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `HeterogeneousDecoderConfig` for those of a family's `config.json`.

    Raises ValueError, with the reason, for another family, quantized weights, and a sliding window
    that is shorter than the positions the model is made for.

    >>> convert({"model_type": "qwen2", "hidden_size": 64})["qkv_bias"]
    True
    """
    family = FAMILIES.get(values.get("model_type", ""))
    if family is None:
        raise ValueError(
            f"model family {values.get('model_type')!r} is not supported because "
            f"{_reason(values)}: supported are {', '.join(FAMILIES)}"
        )
    if "quantization_config" in values:
        raise ValueError("quantized weights are not supported: give a bf16 checkpoint")
    values = {**family.defaults, **family.translate(values), **family.fixed}
    window = family.window(values)
    if window is not None and window < values["max_position_embeddings"]:
        raise ValueError(
            f"a sliding window of {window} positions is in use and is not supported; a sequence no "
            f"longer than that is attended to in full: set max_position_embeddings, now "
            f"{values['max_position_embeddings']}, to {window} in a copy, or give a checkpoint "
            "without a window"
        )
    return {key: value for key, value in values.items() if key not in _LEFT_OUT}


def _reason(values: Mapping[str, Any]) -> str:
    if any(values.get(key) for key in _EXPERT_KEYS):
        return _EXPERTS
    return _REASONS.get(
        values.get("model_type", ""), "its layers are not known to be Llama's, and are taken apart"
    )
