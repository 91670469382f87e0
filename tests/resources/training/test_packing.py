"""Packing and batching: capacity, determinism, nothing lost, no document sees another."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from resources.training.data import examples as data
from resources.training.data import packing
from resources.training.data.bins import pack
from resources.training.plots import curve


def test_collate_packed_by_hand() -> None:
    examples = [([5, 6, 7], [False, True, True]), ([8, 9], [False, True]), ([4], [True])]
    batch = packing.collate_packed(examples, [[0, 1], [2]], 8, pad_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9], [4, 0, 0, 0, 0]]
    assert batch["labels"].tolist() == [[6, 7, -100, 9, -100], [-100] * 5]
    assert batch["weights"].tolist() == [[1, 1, 0, 1, 0], [0] * 5]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1], [0] * 5]
    assert batch["document_ids"].tolist() == [[0, 0, 0, 1, 1], [0, -1, -1, -1, -1]]
    assert batch["tokens"] == 6


def test_a_step_without_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="no token of this step carries loss"):
        packing.with_total([packing.collate_packed([([1, 2], [False, False])], [[0]], 2, 0)])


def examples(count: int = 40) -> data.Examples:
    generator = np.random.default_rng(0)
    lists = []
    for _ in range(count):
        length = int(generator.integers(2, 30))
        lists.append((generator.integers(1, 50, length).tolist(), [False] + [True] * (length - 1)))
    return data.Examples.from_lists(lists)


def test_examples_from_a_table() -> None:
    table = pa.table(
        {
            "text_ids": pa.chunked_array(
                [
                    pa.array([[1, 2, 3]], pa.list_(pa.int32())),
                    pa.array([[4], [5, 6]], pa.list_(pa.int32())),
                ]
            ),
            "loss_mask": pa.array([[True] * 3, [False], [False, True]]),
        }
    )
    read = data.Examples.from_table(table.slice(1))
    assert [ids.tolist() for ids, _ in read] == [[4], [5, 6]]
    assert [mask.tolist() for _, mask in read] == [[False], [False, True]]
    assert read.with_loss().tolist() == [1]
    assert [ids.tolist() for ids, _ in read.take([1, 0])] == [[5, 6], [4]]
    whole = data.Examples.from_table(table).cut(2)
    assert [ids.tolist() for ids, _ in whole] == [[1, 2], [3], [4], [5, 6]]


def test_first_token_alone_does_not_carry_loss() -> None:
    lists = [([1, 2], [True, False]), ([1, 2], [True, True]), ([1], [True])]
    assert data.Examples.from_lists(lists).with_loss().tolist() == [1]


def test_plan_uses_every_unit_once_an_epoch() -> None:
    lengths = examples().lengths
    steps = data.plan_steps(lengths, 64, seed=3, epochs=2)
    half = len(steps) // 2
    for epoch in (steps[:half], steps[half:]):
        assert sorted(np.concatenate(epoch).tolist()) == list(range(40))
    assert not np.array_equal(np.concatenate(steps[:half]), np.concatenate(steps[half:]))
    sizes = [lengths[s].sum() for s in steps]
    assert max(sizes) < 64 + 30 and min(sizes) > 64 - 30
    again = data.plan_steps(lengths, 64, seed=3, tokens=64 * 100)
    assert len(again) == 100
    assert all(np.array_equal(a, b) for a, b in zip(steps, again, strict=False))


def test_plan_survives_uneven_lengths_and_refuses_nothing() -> None:
    steps = data.plan_steps([100, 1, 1, 1], 30, seed=0, epochs=3)
    assert all(len(step) for step in steps)
    for epoch in np.split(np.arange(len(steps)), 3):
        assert sorted(np.concatenate([steps[i] for i in epoch])) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="dataset is empty"):
        data.plan_steps([], 10, seed=0, epochs=1)
    with pytest.raises(ValueError, match="either in tokens or in epochs"):
        data.plan_steps([1], 10, seed=0)


def test_batches_hold_every_token_of_their_step_without_padding() -> None:
    docs = examples()
    units = pack(docs.lengths.tolist(), 40)
    fill = [int(docs.lengths[u].sum()) for u in units]
    batches = data.Batches(docs, units, data.plan_steps(fill, 120, seed=1, epochs=1), 50)
    total = 0
    for step in range(len(batches.steps)):
        micro = batches(step)
        assert all(b["input_ids"].shape[0] == 1 for b in micro)
        assert all(b["tokens"] == b["input_ids"].numel() <= 50 for b in micro)
        assert len({b["total"] for b in micro}) == 1
        assert micro[0]["total"] == sum(float(b["weights"].sum()) for b in micro)
        total += sum(b["tokens"] for b in micro)
    assert total == batches.tokens == docs.lengths.sum()


def test_held_out_split() -> None:
    training, held_out = data.split_held_out(20, 5, seed=2)
    assert len(held_out) == 5
    assert sorted([*training, *held_out]) == list(range(20))
    assert np.array_equal(held_out, data.split_held_out(20, 5, seed=2)[1])


def test_packed_documents_are_computed_as_if_alone() -> None:
    config = pytest.importorskip("resources.models.config")
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

    torch.manual_seed(0)
    model = HeterogeneousDecoderForCausalLM(
        config.HeterogeneousDecoderConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=64,
        )
    ).eval()
    docs = examples(6)
    row = packing.collate_packed(docs, [range(6)], int(docs.lengths.sum()), 0)
    with torch.no_grad():
        together = model(
            row["input_ids"], position_ids=row["position_ids"], document_ids=row["document_ids"]
        ).logits[0]
        for index in range(6):
            alone = model(torch.tensor(docs[index][0][None].astype(np.int64))).logits[0]
            start, end = docs.offsets[index], docs.offsets[index + 1]
            torch.testing.assert_close(together[start:end], alone, atol=1e-5, rtol=1e-4)


def test_curve_is_a_small_png() -> None:
    steps = list(range(5000))
    image = curve(steps, {"loss": [1 / (s + 1) for s in steps], "rate": steps}, title="sft")
    assert image.startswith(b"\x89PNG")
    assert len(image) < 60_000
    with pytest.raises(ValueError, match="2 points for 3 steps"):
        curve([1, 2, 3], {"loss": [1.0, 2.0]})
