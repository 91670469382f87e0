"""The nemotron-nas (DeciLM) layout in numbers and names: what its `config.json` means.

Translates between its entries a layer and ours, and lists the tensors that a server expects. It
does not know files or modules. Sources: the configurations of Llama-3.3-Nemotron-Super-49B and
Llama-3.1-Nemotron-Ultra-253B; vLLM 0.32, `models/nemotron_nas.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FAMILY = "nemotron-nas"
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


def entries(
    blocks: Sequence[Mapping[str, Any]], num_attention_heads: int, hidden_size: int
) -> list[dict[str, dict[str, Any]]]:
    """`block_configs` of the layout for those of a heterogeneous decoder without linear blocks.

    A width that `ffn_mult` cannot say stands as `intermediate_size`, without `ffn_mult`.
    """
    made = []
    for block in blocks:
        heads, size = block["attention"]["num_key_value_heads"], block["ffn"]["intermediate_size"]
        group = None if heads is None else num_attention_heads // heads
        ffn: dict[str, Any] = {"ffn_mult": None}
        if size is not None:
            factor = multiplier(size, hidden_size)
            ffn = {"intermediate_size": size} if factor is None else {"ffn_mult": factor}
        made.append(
            {
                "attention": {
                    "n_heads_in_group": group,
                    "no_op": heads is None,
                    "replace_with_linear": False,
                },
                "ffn": {**ffn, "no_op": size is None, "replace_with_linear": False},
            }
        )
    return made


def convert(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `HeterogeneousDecoderConfig` for those of a nemotron-nas `config.json`.

    Null values are left to their defaults. The sizes of the parent, null in published files, are
    the largest of any layer. Raises ValueError, with layer and reason, for what the heterogeneous
    Llama cannot say: attention windows, sparsity, another activation in one layer, a bias on the
    attention's output alone.
    """
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


def tensors(values: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that vLLM expects for a `config.json` of this layout.

    Written from vLLM's rules and from the file's own values, not from our modules, so that the
    two can be compared.
    """
    hidden, heads = values["hidden_size"], values["num_attention_heads"]
    head_dim = values.get("head_dim") or hidden // heads
    output_bias = bool(values.get("attention_bias"))
    input_bias = bool(values.get("qkv_bias", output_bias))
    mlp_bias = bool(values.get("mlp_bias"))
    made: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (values["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not values.get("tie_word_embeddings"):
        made["lm_head.weight"] = (values["vocab_size"], hidden)

    def linear(name: str, rows: int, columns: int, bias: bool) -> None:
        made[f"{name}.weight"] = (rows, columns)
        if bias:
            made[f"{name}.bias"] = (rows,)

    for layer, block in enumerate(values["block_configs"]):
        prefix, attention, ffn = f"model.layers.{layer}", block["attention"], block["ffn"]
        if not attention["no_op"]:
            keys = heads // attention["n_heads_in_group"] * head_dim
            made[f"{prefix}.input_layernorm.weight"] = (hidden,)
            linear(f"{prefix}.self_attn.q_proj", heads * head_dim, hidden, input_bias)
            linear(f"{prefix}.self_attn.k_proj", keys, hidden, input_bias)
            linear(f"{prefix}.self_attn.v_proj", keys, hidden, input_bias)
            linear(f"{prefix}.self_attn.o_proj", hidden, heads * head_dim, output_bias)
        if not ffn["no_op"]:
            size = width(ffn["ffn_mult"], hidden) if "ffn_mult" in ffn else ffn["intermediate_size"]
            made[f"{prefix}.post_attention_layernorm.weight"] = (hidden,)
            linear(f"{prefix}.mlp.gate_proj", size, hidden, mlp_bias)
            linear(f"{prefix}.mlp.up_proj", size, hidden, mlp_bias)
            linear(f"{prefix}.mlp.down_proj", hidden, size, mlp_bias)
    return made
