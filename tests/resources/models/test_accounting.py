from __future__ import annotations

import itertools
from typing import Any

import pytest

from resources.models import accounting, variants
from resources.models.accounting import Shape
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
PAIRS = list(
    itertools.product(
        ("full", "kv_1", "linear", "noop"), ("full", "ratio_50", "ratio_12.5", "linear", "noop")
    )
)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("biases", [(), ("attention_bias", "mlp_bias"), ("qkv_bias",)])
def test_parameters_equal_the_model(tied: bool, biases: tuple[str, ...]) -> None:
    extra = {"tie_word_embeddings": tied, **dict.fromkeys(biases, True)}
    shape = Shape.of({**SIZES, **extra})
    blocks = accounting.blocks_of(shape, PAIRS)
    model = HeterogeneousDecoderForCausalLM(
        HeterogeneousDecoderConfig(
            **SIZES, **extra, num_hidden_layers=len(blocks), block_configs=blocks
        )
    )
    assert accounting.total_parameters(shape, blocks) == sum(p.numel() for p in model.parameters())
    for layer, (pair, block) in enumerate(zip(PAIRS, blocks, strict=True)):
        expected = sum(p.numel() for p in model.model.layers[layer].parameters())
        assert accounting.block_parameters(shape, *pair) == expected
        assert accounting.block_parameters(shape, block["attention"], block["ffn"]) == expected


def test_flops_by_hand() -> None:
    shape = Shape.of(SIZES)
    # 5 new tokens after 10: projections 2*5*16*(16+16+8+8), attention 4*16*(5*10 + 15).
    assert accounting.attention_flops(shape, "full", 5, 10) == 7680 + 4160
    assert accounting.ffn_flops(shape, "ratio_50", 5) == 2 * 5 * 3 * 16 * 12
    assert accounting.block_flops(shape, "noop", "noop", 5) == 0
    assert accounting.block_flops(shape, "linear", "linear", 5) == 2 * (2 * 5 * 16 * 16)


def test_bytes_by_hand() -> None:
    shape = Shape.of(SIZES)
    assert accounting.weight_bytes(10, 4) == 40
    assert accounting.kv_bytes_per_token(shape, "full", 2) == 2 * 2 * 4 * 2
    assert accounting.kv_bytes_per_token(shape, "kv_1", 2) == 2 * 1 * 4 * 2
    assert accounting.kv_bytes_per_token(shape, "noop") == 0
    assert accounting.kv_bytes_per_token(shape, "linear") == 0
    assert accounting.activation_bytes(shape, "full", "full", 3, 2) == (32 + 72) * 3 * 2
    assert accounting.activation_bytes(shape, "full", "noop", 3, 2) == (32 + 48) * 3 * 2
    assert accounting.activation_bytes(shape, "noop", "noop", 3, 2) == 32 * 3 * 2


def test_a_70b_parent_counts_70b() -> None:
    shape = Shape.of(
        {
            "vocab_size": 128256,
            "hidden_size": 8192,
            "intermediate_size": 28672,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
        }
    )
    blocks = accounting.blocks_of(shape, [("full", "full")] * 80)
    assert accounting.total_parameters(shape, blocks) == 70_553_706_496


def test_variant_names_round_trip() -> None:
    for name in ("full", "kv_1", "linear", "noop"):
        assert variants.attention_name(variants.parse_attention(name, 4, 2), 2) == name
    for name in ("full", "ratio_50", "ratio_12.5", "ratio_250", "linear", "noop"):
        assert variants.ffn_name(variants.parse_ffn(name, 24), 24) == name
    for name in ("ratio_87.5", "ratio_62.5", "ratio_0.78125", "ratio_137.5"):
        part = variants.parse_ffn(name, 128)
        assert variants.ffn_name(part, 128) == name
        assert variants.parse_ffn(variants.ffn_name(part, 128), 128) == part
    for width in range(1, 40_000, 13):  # Any width has a name, at a 70B parent's size too.
        part = {"kind": "full", "intermediate_size": width}
        assert variants.parse_ffn(variants.ffn_name(part, 28672), 28672) == part
    for wrong in ("kv_0", "kv_3", "kv_4", "ratio_50", "Full", ""):
        with pytest.raises(ValueError, match="attention variant"):
            variants.parse_attention(wrong, 4, 2)
    for wrong in ("ratio_0", "ratio_", "kv_1", "half"):
        with pytest.raises(ValueError, match="FFN variant"):
            variants.parse_ffn(wrong, 24)
