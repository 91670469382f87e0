"""Closed forms of block costs: tied embeddings, biases, bytes, and figures computed by hand."""

from __future__ import annotations

import dataclasses

import pytest

from assets.puzzle.costs.closed_form import COST_SCHEMA, cost_rows, non_block_costs
from resources.models import accounting
from resources.models.accounting import Shape
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM

SHAPE = Shape(
    hidden_size=16,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    intermediate_size=24,
    vocab_size=50,
)
ATTENTION, FFN = ("full", "kv_1", "linear", "noop"), ("full", "ratio_50", "linear", "noop")
SIZES = {"dtype_bytes": 2, "batch": 3, "context": 5}


def rows(shape: Shape) -> dict[tuple[str, str], dict[str, int]]:
    """The costs of the only layer of a model."""
    found = cost_rows(shape, 1, ATTENTION, FFN, SIZES)
    return {(row["attention"], row["ffn"]): row for row in found}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("biases", [(), ("attention_bias",), ("qkv_bias",), ("mlp_bias",)])
def test_costs_add_up_to_the_model(tied: bool, biases: tuple[str, ...]) -> None:
    shape = dataclasses.replace(SHAPE, tie_word_embeddings=tied, **dict.fromkeys(biases, True))
    for pair, row in rows(shape).items():
        [block] = accounting.blocks_of(shape, [pair])
        values = dataclasses.asdict(shape) | {"num_hidden_layers": 1, "block_configs": [block]}
        model = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values))
        total = row["parameters"] + non_block_costs(shape, SIZES)["parameters"]
        assert total == model.num_parameters()


def test_tied_embeddings_are_counted_once() -> None:
    matrix, norm = 50 * 16, 16
    tied = non_block_costs(dataclasses.replace(SHAPE, tie_word_embeddings=True), SIZES)
    untied = non_block_costs(SHAPE, SIZES)
    assert (tied["parameters"], untied["parameters"]) == (matrix + norm, 2 * matrix + norm)
    assert (tied["weight_bytes"], untied["weight_bytes"]) == (2 * 816, 2 * 1616)
    assert untied["memory_bytes"] - tied["memory_bytes"] == 2 * matrix


def test_a_blocks_bytes_by_hand() -> None:
    row = rows(SHAPE)["kv_1", "ratio_50"]
    # Norms 2*16, attention 16*(16+4+4) + 16*16, FFN 3*16*12.
    assert row["parameters"] == 32 + 640 + 576
    assert row["weight_bytes"] == 2 * 1248
    assert row["kv_bytes_per_token"] == 2 * 4 * 2
    # 5 tokens: residual and normed copy, and queries, keys, values and output (16+4+4+16).
    assert row["activation_bytes"] == 2 * 5 * (32 + 40)
    assert row["memory_bytes"] == 2496 + 3 * 5 * 16
    # The working memory is shared by all layers: the rest counts that of the parent's block.
    assert non_block_costs(SHAPE, SIZES)["memory_bytes"] == 2 * 1616 + 2 * 5 * (32 + 72)


def test_a_no_op_costs_nothing_but_the_residual_stream() -> None:
    row = rows(SHAPE)["noop", "noop"]
    assert row["activation_bytes"] == 2 * 5 * 32
    zero = ("parameters", "weight_bytes", "kv_bytes_per_token", "memory_bytes")
    assert [row[name] for name in zero] == [0, 0, 0, 0]
    assert all(name in row for name in (*zero, "attention", "ffn", "layer"))
    assert set(row) < set(COST_SCHEMA.names)


def test_figures_of_the_reference_implementation() -> None:
    # Memory of attention: batch 2, 5 tokens, 8 values of keys and values a token, 123 parameters.
    shape = dataclasses.replace(SHAPE, num_key_value_heads=1)
    keys = accounting.kv_bytes_per_token(shape, "full", 2)
    assert accounting.weight_bytes(123, 2) + 2 * 5 * keys == 2 * 5 * 8 * 2 + 123 * 2
    # Operations of batch 2 with 8 heads of 4: 5 tokens at once, then 2 more, one after the other.
    # The projections are a multiply-add of every parameter and token.
    wide = dataclasses.replace(SHAPE, num_attention_heads=8, num_key_value_heads=8)
    matrices = accounting.attention_parameters(wide, "full") - wide.hidden_size

    def attention(parameters: int, tokens: int, context: int) -> int:
        """Projections of `parameters` parameters in place of the shape's own."""
        flops = accounting.attention_flops(wide, "full", tokens, context)
        return 2 * (flops + 2 * (parameters - matrices) * tokens)

    assert attention(100, 5, 0) == 2 * 100 * 2 * 5 + 4 * 2 * 8 * 4 * (10 + 5)
    assert attention(100, 2, 5) == 2 * 100 * 2 * 2 + 4 * 2 * 8 * 4 * (6 + 7)
    # FFN of 3 * 10 * 10 = 300 parameters, batch 2, 5 tokens.
    square = dataclasses.replace(SHAPE, hidden_size=10, intermediate_size=10)
    assert 2 * accounting.ffn_flops(square, "full", 5) == 2 * 300 * 2 * 5
