"""The models that the parts run: the shape of Llama-3.1-8B, with random weights on the device.

Time and memory depend on sizes alone. In a rehearsal every size is small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.gpu.part import Setup
from resources.models.accounting import Shape, blocks_of
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.training.data.examples import Batches, Examples
from resources.training.loop.measuring import Batch

# Llama-3.1-8B's config.json; the rotary type is left out, since it takes no time of its own.
LLAMA_8B: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
LAYERS = 32
SMALL: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
REHEARSED: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 256,
    "max_position_embeddings": 1024,
}
REHEARSED_LAYERS = 4


def configured(
    setup: Setup,
    variants: Sequence[tuple[str, str]] | None = None,
    sizes: Mapping[str, Any] = LLAMA_8B,
) -> HeterogeneousDecoderConfig:
    """The shape `sizes` with a layer for each (attention, ffn) pair of variants; as many full ones
    as the 8B model has where none are given."""
    values = REHEARSED if setup.rehearsal else sizes
    blocks = blocks_of(Shape.of(values), variants or [("full", "full")] * layers(setup))
    return HeterogeneousDecoderConfig(
        **values,
        num_hidden_layers=len(blocks),
        block_configs=blocks,
        tie_word_embeddings=False,
        rms_norm_eps=1e-5,
    )


def layers(setup: Setup) -> int:
    """How many layers the 8B model has."""
    return REHEARSED_LAYERS if setup.rehearsal else LAYERS


def random_model(
    config: HeterogeneousDecoderConfig, device: str, dtype: torch.dtype
) -> HeterogeneousDecoderForCausalLM:
    """A model with normal weights of the configuration's range, made on the device."""
    with torch.device("meta"):
        model = HeterogeneousDecoderForCausalLM(config)
    model = model.to(dtype).to_empty(device=device)
    draw = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.fill_(1.0)
            else:
                weight.normal_(0.0, config.initializer_range, generator=draw)
    model.renew_tables()
    return model.eval()


def packed(vocabulary: int, document: int, row: int, rows: int) -> list[Batch]:
    """A step's micro-batches: `rows` of `row` random tokens, each of documents of equal length."""
    draw = torch.Generator().manual_seed(0)
    examples = Examples.from_lists(
        [
            (torch.randint(vocabulary, (document,), generator=draw).tolist(), [True] * document)
            for _ in range(rows * row // document)
        ]
    )
    units = [[index] for index in range(len(examples))]
    return Batches(examples, units, [], row).collate(range(len(units)))
