"""All families, and the one way from a `config.json` to a configuration of ours or to a refusal.

Everything else sees only the heterogeneous decoder. It does not know files or tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resources.models.families import (
    heterogeneous,
    llama,
    mistral,
    nemotron_nas,
    qwen2,
    qwen3,
    smollm3,
)
from resources.models.families.family import Family
from resources.models.families.parts import unknown_parts

_MODULES = (llama, mistral, qwen2, qwen3, smollm3, nemotron_nas, heterogeneous)
FAMILIES: dict[str, Family] = {module.FAMILY.model_type: module.FAMILY for module in _MODULES}

# About the file, or said by each layer's own entry: none of these is the model's.
_LEFT_OUT = (
    *("architectures", "model_type", "transformers_version", "auto_map", "quantization_config"),
    *("sliding_window", "use_sliding_window", "max_window_layers", "layer_types"),
    *("no_rope_layers", "no_rope_layer_interval"),
)
_DTYPES = ("float32", "float16", "bfloat16", "float64", "float", "half", "double")
_SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"),
)
# Other models whose keys do not tell what sets them apart.
_OTHERS = {
    "gemma": "norms that add 1 to their weights, embedding scaling",
    "gemma2": "norms that add 1 to their weights, embedding scaling, four norms a layer",
    "gemma3_text": "norms that add 1 to their weights, embedding scaling, four norms a layer",
    "phi": "LayerNorm, attention and FFN in parallel",
    "phi-msft": "LayerNorm, attention and FFN in parallel",
    "phi3": "queries, keys and values stored as one matrix",
    "olmo": "norms without weights",
    "olmo2": "queries and keys normalised over all heads, norms behind the sub-blocks",
    "olmo3": "queries and keys normalised over all heads, norms behind the sub-blocks",
    "cohere": "LayerNorm, attention and FFN in parallel, interleaved rotary embedding",
    "cohere2": "LayerNorm, attention and FFN in parallel, interleaved rotary embedding",
    "stablelm": "LayerNorm",
    "starcoder2": "LayerNorm, an FFN without gate",
    "nemotron": "LayerNorm that adds 1 to its weights, an FFN without gate",
    "gpt2": "LayerNorm, learned positions",
    "gpt_bigcode": "LayerNorm, learned positions",
    "gpt_neox": "LayerNorm, queries, keys and values stored as one matrix",
    "gptj": "LayerNorm, attention and FFN in parallel",
    "opt": "LayerNorm, learned positions",
    "bloom": "LayerNorm, position biases",
    "falcon": "LayerNorm, queries, keys and values stored as one matrix",
    "mpt": "LayerNorm, position biases",
    "glm": "gate and up stored as one matrix, interleaved rotary embedding",
    "glm4": "further norms in each layer, interleaved rotary embedding",
    "internlm2": "queries, keys and values stored as one matrix",
    "baichuan": "queries, keys and values stored as one matrix",
    "chatglm": "queries, keys and values stored as one matrix",
    "qwen": "queries, keys and values stored as one matrix",
    "ministral": "sliding and full attention chosen by a class of its own",
    "ernie4_5": "interleaved rotary embedding",
    "hunyuan_v1_dense": "queries and keys normalised behind the rotary embedding",
    "exaone4": "queries and keys normalised, norms behind the sub-blocks",
    "apertus": "queries and keys normalised, an FFN without gate",
    "arcee": "an FFN without gate",
    "mamba": "state-space layers",
    "rwkv": "recurrent layers",
    "rwkv5": "recurrent layers",
    "orion": "LayerNorm",
    "internlm": "computed by code of its own",
    "gpt_oss": "a mixture of experts, attention sinks",
}


def convert(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `HeterogeneousDecoderConfig` for those of a family's `config.json`.

    Raises ValueError, in one line with every part that is unknown, for what is not computed here
    as the family's own class in `transformers` computes it.

    >>> convert({"model_type": "qwen2", "hidden_size": 64})["qkv_bias"]
    True
    """
    name = values.get("model_type")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise ValueError(_refusal(values))
    unknown = _architecture(values, family) + unknown_parts(values, family.known)
    if unknown:
        raise ValueError(f"this {name} has what is not supported: {'; '.join(unknown)}")
    values = {**family.defaults, **family.translate(values), **family.fixed}
    layers = family.attention(values)
    most = values.get("max_position_embeddings")
    for layer in layers:
        # A window over all positions that the model is made for hides nothing.
        if most is not None and layer.get("window", 0) >= most:
            del layer["window"]
    made = {key: value for key, value in values.items() if key not in _LEFT_OUT}
    for key in ("dtype", "torch_dtype"):
        if made.get(key) == "auto":
            del made[key]
        if made.get(key) is not None and made[key] not in _DTYPES:
            raise ValueError(f"{key} is {made[key]!r}: it must be one of {', '.join(_DTYPES)}")
    for key in _SIZES:
        if key in made and isinstance(made[key], int) and made[key] < 1:
            raise ValueError(f"{key} is {made[key]!r}: it must be positive")
    if made.get("attention_dropout"):
        made["attention_dropout"] = 0.0  # of its own training; none of ours draws any
    if any(layers):
        made["block_configs"] = [{"attention": layer} for layer in layers]
    if family.fixed and family.model_type != llama.FAMILY.model_type:
        made["family"] = family.model_type
    return made


def family_of(values: Mapping[str, Any]) -> Family:
    """The family whose own class computes a model of our configuration's values, its layers made
    alike."""
    # Checkpoints that were saved before the name was kept are Llamas, or Qwen2 by their biases.
    name = values["family"] or (qwen2 if values["qkv_bias"] else llama).FAMILY.model_type
    return FAMILIES[name]


def _architecture(values: Mapping[str, Any], family: Family) -> list[str]:
    given = values.get("architectures")
    if not given or family.architecture is None:
        return []
    if family.architecture.lower() in (str(name).lower() for name in given):
        return []
    return [f"the architecture {given[0]} (known: {family.architecture})"]


def _refusal(values: Mapping[str, Any]) -> str:
    name = values.get("model_type")
    if name is None:
        return f"no model_type, so its family is unknown: supported are {', '.join(FAMILIES)}"
    known = [_OTHERS[name]] if name in _OTHERS else []
    reasons = known + unknown_parts(values)
    return (
        f"model_type {name!r} is not supported: "
        f"{'; '.join(reasons) or 'its layers are not known'} (supported: {', '.join(FAMILIES)})"
    )
