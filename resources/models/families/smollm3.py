"""SmolLM3: Llama with layers that go without rotary embedding, every fourth unless listed."""

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


def _attention(values: Values) -> list[Attention]:
    count, every = values["num_hidden_layers"], values["no_rope_layer_interval"]
    ropes = values.get("no_rope_layers") or [(i + 1) % every != 0 for i in range(count)]
    for rope in ropes if isinstance(ropes, list) else [ropes]:
        if rope not in (0, 1):
            raise ValueError(f"no_rope_layers: {rope!r} is neither 1 (rotary) nor 0 (without)")
    if len(ropes) < count:
        raise ValueError(f"no_rope_layers has {len(ropes)} entries for {count} layers")
    made: list[Attention] = [{} for _ in range(count)]
    if values.get("use_sliding_window") and values["sliding_window"] is not None:
        types = values.get("layer_types") or [FULL if rope else SLIDING for rope in ropes[:count]]
        made = slides(values, types)
    else:
        none_slides(values)
    return [one if rope else {**one, "rope": False} for one, rope in zip(made, ropes, strict=False)]


def _plain(config: Values, layers: Sequence[Attention | None]) -> dict[str, Any]:
    return {
        **sliding_keys(layers),
        "no_rope_layers": [int((layer or {}).get("rope", True)) for layer in layers],
        "attention_bias": config["attention_bias"] or config["qkv_bias"],
    }


FAMILY = Family(
    "smollm3",
    "SmolLM3ForCausalLM",
    defaults={
        "vocab_size": 128256,
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "pad_token_id": 128004,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "rope_theta": 2_000_000.0,
        "tie_word_embeddings": True,
        "sliding_window": None,
        "no_rope_layer_interval": 4,
    },
    fixed={"qkv_bias": False},
    attention=_attention,
    plain=_plain,
)
