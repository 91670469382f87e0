"""Sub-blocks: one layer's attention or FFN with its norm, as a block whose other half is a no-op.

A layer is its attention half followed by its FFN half, so that children are made, trained, stored
and combined half by half. Knows the heterogeneous model and variant names; knows nothing of data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resources.models.config import HeterogeneousLlamaConfig
from resources.models.modeling import HeterogeneousLlamaBlock, HeterogeneousLlamaForCausalLM
from resources.models.variants import block_config

ATTENTION, FFN = "attention", "ffn"
PARTS = {ATTENTION: ("input_layernorm", "self_attn"), FFN: ("post_attention_layernorm", "mlp")}
UNTRAINED = ("full", "noop")  # the parent's own sub-block, and none


def parent_half(model: HeterogeneousLlamaForCausalLM, layer: int, kind: str) -> nn.Module:
    """The parent's attention or FFN half of a layer; it shares the parent's parameters."""
    block = model.model.layers[layer]
    half = _empty(model, layer)
    for name in PARTS[kind]:
        setattr(half, name, getattr(block, name))
    return half


def new_half(
    model: HeterogeneousLlamaForCausalLM, layer: int, kind: str, variant: str
) -> nn.Module:
    """A half of the shapes a variant name stands for, on the parent's device, weights unset.

    Raises:
        ValueError: an unknown variant, or one the parent cannot have.
    """
    names = (variant, "noop") if kind == ATTENTION else ("noop", variant)
    with torch.device("meta"):
        block = HeterogeneousLlamaBlock(
            model.config, _block_config(model.config, layer, *names), layer
        )
    parameter = model.model.norm.weight
    return block.to(parameter.dtype).to_empty(device=parameter.device)


def file_name(layer: int, kind: str, variant: str) -> str:
    """Where a library keeps a trained half: `layer_3/attention_kv_1.safetensors`."""
    return f"layer_{layer}/{kind}_{variant}.safetensors"


class Library:
    """The sub-blocks of one parent: its own, no-ops, and the trained ones in a library folder."""

    def __init__(self, parent: HeterogeneousLlamaForCausalLM, folder: Path | None) -> None:
        self.parent = parent
        self.folder = folder

    def half(self, layer: int, kind: str, variant: str) -> nn.Module:
        """The half of a layer with the given variant, for evaluation.

        Raises:
            FileNotFoundError: the library has no such half.
        """
        if variant == "full":
            return parent_half(self.parent, layer, kind)
        half = new_half(self.parent, layer, kind, variant).requires_grad_(False)
        if variant != "noop":
            from safetensors.torch import load_file

            path = None if self.folder is None else self.folder / file_name(layer, kind, variant)
            if path is None or not path.is_file():
                raise FileNotFoundError(
                    f"block library has no {kind} variant {variant!r} for layer {layer} "
                    f"(expected {path}); build it or leave the variant out"
                )
            half.load_state_dict(load_file(path))
        return half.eval()


def compose(
    library: Library, architecture: Sequence[tuple[str, str]]
) -> HeterogeneousLlamaForCausalLM:
    """A new model with the (attention, ffn) variants of each layer, the parent's weights elsewhere.

    Raises:
        ValueError: another number of layers than the parent has.
    """
    parent = library.parent
    layers = parent.config.num_hidden_layers
    if len(architecture) != layers:
        raise ValueError(f"architecture has {len(architecture)} layers, the parent {layers}")
    values = parent.config.to_dict()
    values["block_configs"] = [
        _block_config(parent.config, layer, *variants)
        for layer, variants in enumerate(architecture)
    ]
    return fill(
        parent,
        HeterogeneousLlamaConfig(**values),
        [
            {
                **library.half(layer, ATTENTION, attention).state_dict(),
                **library.half(layer, FFN, ffn).state_dict(),
            }
            for layer, (attention, ffn) in enumerate(architecture)
        ],
    )


def fill(
    source: HeterogeneousLlamaForCausalLM,
    config: HeterogeneousLlamaConfig,
    blocks: Sequence[dict[str, torch.Tensor]],
) -> HeterogeneousLlamaForCausalLM:
    """A model of `config` with the given weights in its layers and `source`'s everywhere else."""
    model: Any = HeterogeneousLlamaForCausalLM(config)
    weights = {
        name: value
        for name, value in source.state_dict().items()
        if not name.startswith("model.layers.")
    }
    for layer, block in enumerate(blocks):
        weights |= {f"model.layers.{layer}.{name}": value for name, value in block.items()}
    parameter = source.model.norm.weight
    model.to(device=parameter.device, dtype=parameter.dtype)
    model.load_state_dict(weights)
    filled: HeterogeneousLlamaForCausalLM = model.eval()
    return filled


def _empty(model: HeterogeneousLlamaForCausalLM, layer: int) -> HeterogeneousLlamaBlock:
    return HeterogeneousLlamaBlock(
        model.config, _block_config(model.config, layer, "noop", "noop"), layer
    ).eval()


def _block_config(
    config: HeterogeneousLlamaConfig, layer: int, attention: str, ffn: str
) -> dict[str, Any]:
    parent = (config.block_configs or [])[layer]
    return dict(
        block_config(
            attention,
            ffn,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=int(
                parent["attention"]["num_key_value_heads"] or config.num_key_value_heads or 0
            ),
            intermediate_size=int(parent["ffn"]["intermediate_size"] or config.intermediate_size),
        )
    )
