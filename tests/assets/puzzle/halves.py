"""Libraries of halves made by hand, for the Puzzle tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from assets.puzzle.halves import ATTENTION, FFN, Library, file_name, new_half, parent_half
from assets.puzzle.library import initialise
from resources.models.modeling import HeterogeneousDecoderForCausalLM


def library(
    model: HeterogeneousDecoderForCausalLM, folder: Path, halves: dict[tuple[int, str, str], object]
) -> Library:
    """A library folder with the given halves of (layer, kind, variant)."""
    for (layer, kind, variant), half in halves.items():
        path = folder / file_name(layer, kind, variant)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(half.state_dict(), path)
    return Library(model, folder)


def ffn_half(
    model: HeterogeneousDecoderForCausalLM, layer: int, variant: str, ranked: object
) -> object:
    """An FFN of the best channels, in the order given."""
    half = new_half(model, layer, FFN, variant)
    initialise.initialise_ffn(half, parent_half(model, layer, FFN), np.asarray(ranked))
    return half


def made(parent: HeterogeneousDecoderForCausalLM, folder: Path) -> Library:
    """A library of initialised halves, `kv_1` and `ratio_50` of every layer."""
    halves = {}
    for layer in range(parent.config.num_hidden_layers):
        attention = new_half(parent, layer, ATTENTION, "kv_1")
        initialise.pool_attention(attention, parent_half(parent, layer, ATTENTION))
        halves[layer, ATTENTION, "kv_1"] = attention
        halves[layer, FFN, "ratio_50"] = ffn_half(parent, layer, "ratio_50", np.arange(24))
    return library(parent, folder, halves)
