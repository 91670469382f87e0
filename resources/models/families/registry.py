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
from resources.models.families.others import OTHERS
from resources.models.families.parts import unknown_parts
from resources.models.families.values import check_values

_MODULES = (llama, mistral, qwen2, qwen3, smollm3, nemotron_nas, heterogeneous)
FAMILIES: dict[str, Family] = {module.FAMILY.model_type: module.FAMILY for module in _MODULES}

# About the file, or said by each layer's own entry: none of these is the model's.
_LEFT_OUT = (
    *("architectures", "model_type", "transformers_version", "auto_map", "quantization_config"),
    *("sliding_window", "use_sliding_window", "max_window_layers", "layer_types"),
    *("no_rope_layers", "no_rope_layer_interval"),
    "dual_chunk_attention_config",  # for servers, behind the context that a model is made for
)


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
    check_values({**family.defaults, **values})
    values = {**family.defaults, **family.translate(values), **family.fixed}
    layers = family.attention(values)
    most = values.get("max_position_embeddings")
    for layer in layers:
        # A window over all positions that the model is made for hides nothing.
        if most is not None and layer.get("window", 0) >= most:
            layer.pop("window", None)
    made = {key: value for key, value in values.items() if key not in _LEFT_OUT}
    for key in ("dtype", "torch_dtype"):
        if made.get(key) == "auto":
            del made[key]
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
    if not given or not isinstance(given, list) or family.architecture is None:
        return []
    if family.architecture.lower() in (str(name).lower() for name in given):
        return []
    return [f"the architecture {given[0]} (known: {family.architecture})"]


def _refusal(values: Mapping[str, Any]) -> str:
    name = values.get("model_type")
    if name is None:
        return f"no model_type, so its family is unknown: supported are {', '.join(FAMILIES)}"
    known = [OTHERS[name]] if name in OTHERS else []
    reasons = known + unknown_parts(values)
    if not reasons and values.get("auto_map"):
        reasons = ["computed by code of its own (auto_map)"]
    return (
        f"model_type {name!r} is not supported: "
        f"{'; '.join(reasons) or 'its layers are not known'} (supported: {', '.join(FAMILIES)})"
    )
