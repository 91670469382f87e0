"""The cost plan's closed forms against hand-computed numbers and a real model's tensors."""

from __future__ import annotations

import pytest

from resources.costs import placement
from resources.costs.placement import DoesNotFitError, Machine, Placement
from resources.models.accounting import Shape, blocks_of, total_parameters

LLAMA_8B = Shape(4096, 32, 8, 128, 14336, 128256)
LLAMA_70B = Shape(8192, 64, 8, 128, 28672, 128256)
BLOCKS_8B = blocks_of(LLAMA_8B, [("full", "full")] * 32)
BLOCKS_70B = blocks_of(LLAMA_70B, [("full", "full")] * 80)
H100 = Machine("H100", 80e9, 989e12, 0.4)


def test_states_take_sixteen_bytes_a_parameter_and_zero_shards_them() -> None:
    count = total_parameters(LLAMA_8B, BLOCKS_8B)
    assert count == 8_030_261_248
    whole = placement.memory(LLAMA_8B, BLOCKS_8B, Placement())
    assert (whole.weights, whole.gradients, whole.optimizer) == (4 * count, 4 * count, 8 * count)
    two = placement.memory(LLAMA_8B, BLOCKS_8B, Placement(ranks=8, zero_stage=2))
    assert (two.weights, two.gradients, two.optimizer) == (4 * count, count / 2, count)
    three = placement.memory(LLAMA_8B, BLOCKS_8B, Placement(ranks=8, zero_stage=3))
    layer = 4096 * 2 + 4096 * (4096 * 2 + 1024 * 2) + 3 * 4096 * 14336
    assert three.weights == count / 2 + 2 * 4 * layer
    assert placement.memory(LLAMA_8B, BLOCKS_8B, Placement(offload=True)).optimizer == 0


def test_logits_are_held_whole_or_in_chunks() -> None:
    whole = placement.memory(LLAMA_8B, BLOCKS_8B, Placement(micro_tokens=8192))
    assert whole.logits == 3 * 4 * 8192 * 128256
    chunked = placement.memory(LLAMA_8B, BLOCKS_8B, Placement(micro_tokens=8192, chunk=1024))
    assert chunked.logits * 8 == whole.logits
    taught = placement.memory(LLAMA_8B, BLOCKS_8B, Placement(), teacher_parameters=1e9)
    assert (taught.teacher, taught.logits) == (2e9, 4 * 4 * 8192 * 128256)


def test_checkpointing_keeps_inputs_and_one_layer() -> None:
    shape = Shape(8, 2, 1, 4, 16, 32)
    blocks = blocks_of(shape, [("full", "full"), ("noop", "full"), ("noop", "noop")])
    # Attention: 4*8 + 2*(8 + 3*8 + 3*4) = 120 a token, FFN: 4*8 + 2*(8 + 4*16) = 176.
    held = placement.memory(shape, blocks, Placement(micro_tokens=10))
    assert held.activations == 10 * (120 + 176 + 176)
    kept = placement.memory(shape, blocks, Placement(micro_tokens=10, checkpointing=True))
    assert kept.activations == 10 * (3 * 4 * 8 + 120 + 176)
    shared = placement.memory(shape, blocks, Placement(micro_tokens=10, sequence_parallel=2))
    assert shared.activations * 2 == held.activations


def test_flops_are_six_a_parameter_and_token_plus_attention() -> None:
    flops = placement.training_flops(LLAMA_8B, BLOCKS_8B, 8192, 8192)
    embedding = 128256 * 4096
    matrices = total_parameters(LLAMA_8B, BLOCKS_8B) - embedding
    attention = 3 * 32 * 4 * 4096 * (8192 * 8193 // 2)
    assert flops == pytest.approx(6 * matrices * 8192 + attention, rel=1e-4)
    more = placement.training_flops(LLAMA_8B, BLOCKS_8B, 8192, 8192, checkpointing=True)
    assert more * 3 == pytest.approx(flops * 4)
    assert placement.seconds(989e12 * 0.4 * 8, H100, 8) == pytest.approx(1)


def test_a_stage_that_does_not_fit_names_the_smallest_change() -> None:
    with pytest.raises(DoesNotFitError, match=r"super/sft needs .* GB a rank on 8 x H100") as error:
        placement.check(
            LLAMA_8B, BLOCKS_8B, Placement(ranks=8, zero_stage=1), H100, what="super/sft"
        )
    assert "It would fit with" in str(error.value)
    fitting = Placement(ranks=8, zero_stage=3, checkpointing=True, chunk=1024)
    assert placement.check(LLAMA_8B, BLOCKS_8B, fitting, H100, what="x").total < 0.92 * 80e9
    with pytest.raises(DoesNotFitError, match=r"It would fit with \d+ ranks, zero_stage 3"):
        placement.check(LLAMA_70B, BLOCKS_70B, Placement(ranks=8), H100, what="ultra/sft")
    tiny = Machine("toy", 1e6, 1e9, 0.5)
    with pytest.raises(DoesNotFitError, match="No placement this plan knows"):
        placement.check(LLAMA_8B, BLOCKS_8B, Placement(), tiny, what="x")
