"""The nemotron-nas (DeciLM) layout for writing: its entries a layer, and the tensors expected.

Written from vLLM's rules, not from our modules. It does not know files. What its keys mean stands
in `families/nemotron_nas.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resources.models.families.nemotron_nas import multiplier, width


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
