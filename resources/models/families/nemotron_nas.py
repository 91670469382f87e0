"""nemotron-nas (DeciLM): Llama whose layers differ, as NVIDIA publishes its searched models.

Its `block_configs` say what a layer holds in other words than ours. Sources: the configurations of
Llama-3.3-Nemotron-Super-49B and Llama-3.1-Nemotron-Ultra-253B; vLLM 0.32, `models/nemotron_nas.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resources.models.families.family import Family

MODEL_TYPE = "nemotron-nas"
ARCHITECTURE = "DeciLMForCausalLM"
WIDTH_STEP = 256
_OF_THE_FILE = ("architectures", "auto_map", "model_type", "transformers_version", "block_configs")
_ATTENTION = ("no_op", "replace_with_linear", "n_heads_in_group")
_FFN = ("no_op", "replace_with_linear", "ffn_mult", "intermediate_size", "hidden_act")


def width(ffn_mult: float, hidden_size: int) -> int:
    """The FFN width of a multiplier: int(2 * ffn_mult * hidden / 3), rounded up to 256s.

    >>> [width(x, 8192) for x in (5.25, 2.625, 1.3125)], width(4.875, 16384)
    ([28672, 14336, 7168], 53248)
    """
    return -(-int(2 * ffn_mult * hidden_size / 3) // WIDTH_STEP) * WIDTH_STEP


def multiplier(intermediate_size: int, hidden_size: int) -> float | None:
    """The `ffn_mult` of a width; None where the layout's rule would round the width up.

    >>> multiplier(14336, 8192), multiplier(320, 128)
    (2.625, None)
    """
    value = 3 * intermediate_size / (2 * hidden_size)
    return value if width(value, hidden_size) == intermediate_size else None


def convert(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `HeterogeneousDecoderConfig` for those of a nemotron-nas `config.json`.

    Null values are left to their defaults. The sizes of the parent, null in published files, are
    the largest of any layer. Raises ValueError, with layer and reason, for what the heterogeneous
    Llama cannot say: attention windows, sparsity, another activation in one layer, a bias on the
    attention's output alone.
    """
    for name in ("num_hidden_layers", "num_attention_heads", "hidden_size"):
        if values.get(name) is None:
            raise ValueError(f"{name} is missing: it gives the sizes of block_configs")
    layers = values.get("block_configs") or []
    if len(layers) != values["num_hidden_layers"]:
        raise ValueError(
            f"block_configs has {len(layers)} entries for num_hidden_layers = "
            f"{values['num_hidden_layers']}: one a layer is needed"
        )
    blocks = [
        {
            "attention": _attention(f"block_configs[{layer}].attention", block, values),
            "ffn": _ffn(f"block_configs[{layer}].ffn", block, values),
        }
        for layer, block in enumerate(layers)
    ]
    made = {
        name: value
        for name, value in values.items()
        if name not in _OF_THE_FILE and (value is not None or name.endswith("_token_id"))
    }
    for name, part in (("num_key_value_heads", "attention"), ("intermediate_size", "ffn")):
        sizes = [block[part][name] for block in blocks if block[part]["kind"] == "full"]
        if name not in made and sizes:
            made[name] = max(sizes)
    output = bool(made.get("attention_bias"))
    inputs = bool(made.pop("qkv_bias", output))
    if output and not inputs:
        raise ValueError("attention_bias without qkv_bias: a bias on o_proj alone is not supported")
    return {**made, "attention_bias": output, "qkv_bias": inputs and not output} | {
        "block_configs": blocks
    }


def _attention(where: str, block: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    part = block["attention"]
    _refuse_others(where, part, _ATTENTION)
    kind = _kind(part)
    heads: int | None = None
    if kind == "full":
        group = part.get("n_heads_in_group")
        if not group or values["num_attention_heads"] % group:
            raise ValueError(
                f"{where}: n_heads_in_group {group!r} does not divide "
                f"{values['num_attention_heads']} query heads"
            )
        heads = values["num_attention_heads"] // group
    return {"kind": kind, "num_key_value_heads": heads}


def _ffn(where: str, block: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    part = block["ffn"]
    _refuse_others(where, part, _FFN)
    kind = _kind(part)
    size: int | None = None
    if kind == "full":
        factor, size = part.get("ffn_mult"), part.get("intermediate_size")
        if factor is not None:
            size = width(factor, values["hidden_size"])
        if not size:
            raise ValueError(f"{where}: neither ffn_mult nor intermediate_size gives a width")
    usual = values.get("hidden_act", "silu")
    if part.get("hidden_act", usual) != usual:
        raise ValueError(f"{where}: hidden_act {part['hidden_act']!r} differs from {usual!r}")
    return {"kind": kind, "intermediate_size": size}


def _kind(part: Mapping[str, Any]) -> str:
    if part.get("no_op"):
        return "noop"
    return "linear" if part.get("replace_with_linear") else "full"


def _refuse_others(where: str, part: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Further keys may stand there as long as they say nothing (null or false)."""
    for name, value in part.items():
        if name not in known and value not in (None, False):
            raise ValueError(f"{where}: {name} = {value!r} is not supported")


FAMILY = Family(MODEL_TYPE, ARCHITECTURE, known=frozenset({"block_configs"}), translate=convert)
