"""Attention heads of a size that engines have kernels for, computing what the narrower ones did.

Works on a model's weights; which sizes an engine has is its exporter's matter.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from resources.models.modeling import HeterogeneousDecoderForCausalLM


def widen_heads(
    model: HeterogeneousDecoderForCausalLM, head_dim: int
) -> HeterogeneousDecoderForCausalLM:
    """A model whose heads have `head_dim` dimensions, zeros added; logits equal up to rounding.

    With D the old size and D' the new one: the two halves of a head, which rotary embedding pairs,
    are each padded to D'/2; theta' = theta^(D'/D) keeps theta'^(-2j/D') = theta^(-2j/D), the
    frequency of pair j; queries are multiplied by sqrt(D'/D), because scores are divided by
    sqrt(D') instead of sqrt(D). Weights come in float32 at least, which that product needs.
    The given model is left as it is and shares the weights that stay. Right for rotary types that
    change frequencies one by one (default, linear, llama3). Raises ValueError for a narrower size.
    """
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

    old = model.config.head_dim or model.config.hidden_size // model.config.num_attention_heads
    if head_dim < old or head_dim % 2 or old % 2:
        raise ValueError(f"heads of {old} dimensions cannot be widened to {head_dim}")
    config = copy.deepcopy(model.config)
    config.head_dim = head_dim
    rope = dict(config.rope_parameters or {})
    rope["rope_theta"] = rope["rope_theta"] ** (head_dim / old)
    config.rope_parameters = rope
    dtype = torch.promote_types(model.dtype, torch.float32)
    config.dtype = dtype
    weights = {}
    for name, tensor in model.state_dict().items():
        weight = tensor.to(dtype)
        if ".self_attn.o_proj.weight" in name:
            weight = _padded(weight.T, old, head_dim).T.contiguous()
        elif any(f".self_attn.{part}_proj." in name for part in "qkv"):
            weight = _padded(weight, old, head_dim)
            if ".q_proj." in name:
                weight = weight * math.sqrt(head_dim / old)
        weights[name] = weight
    with torch.device("meta"):
        wide = HeterogeneousDecoderForCausalLM(config)
    wide.load_state_dict(weights, assign=True)
    wide.tie_weights()
    wide.renew_tables()
    return wide.eval()


def _padded(rows: torch.Tensor, old: int, new: int) -> torch.Tensor:
    """Rows `[heads * old, ...]` as `[heads * new, ...]`, zeros at the end of each half head."""
    halves = rows.unflatten(0, (-1, 2, old // 2))
    wide = halves.new_zeros(halves.shape[0], 2, new // 2, *rows.shape[1:])
    wide[:, :, : old // 2] = halves
    return wide.flatten(0, 2)
