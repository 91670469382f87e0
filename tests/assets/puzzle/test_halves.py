"""Halves of blocks: the parent's own give the parent, a no-op is a zero projection."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assets.puzzle.halves import ATTENTION, FFN, Library, compose
from assets.puzzle.intervals import intervals
from assets.puzzle.scoring.build import model_kl
from tests.assets.puzzle import tiny


def test_the_parents_own_blocks_give_the_parent() -> None:
    model, batch = tiny.parent(), tiny.data()
    same = compose(Library(model, None), [("full", "full")] * 3)
    assert torch.equal(tiny.logits(model, batch), tiny.logits(same, batch))
    assert model_kl(model, same, batch).max() == 0
    kl = tiny.replacement_kl(Library(model, None), [("full", "full"), ("noop", "full")], batch)
    assert kl.shape == (3, 2, len(batch))
    assert (kl[:, 0] == 0).all()
    assert (kl[:, 1] > 0).all()


def test_a_noop_equals_a_zero_output_projection() -> None:
    model, batch = tiny.parent(), tiny.data()
    for kind, variants in ((ATTENTION, ("noop", "full")), (FFN, ("full", "noop"))):
        removed = compose(Library(model, None), [("full", "full"), variants, ("full", "full")])
        zeroed = tiny.parent()
        block = zeroed.model.layers[1]
        projection = block.self_attn.o_proj if kind == ATTENTION else block.mlp.down_proj
        with torch.no_grad():
            projection.weight.zero_()
        assert torch.equal(tiny.logits(removed, batch), tiny.logits(zeroed, batch))


def test_a_missing_child_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"kv_1.*layer 0"):
        Library(tiny.parent()).half(0, ATTENTION, "kv_1")


def test_intervals_hold_the_mean() -> None:
    values = np.random.default_rng(0).normal(3, 1, (2, 5, 400))
    low, high = intervals(values, seed=1)
    means = values.mean(-1)
    assert ((low < means) & (means < high)).all()
    # half a 95 % interval of 400 normal draws is 1.96 / 20
    np.testing.assert_allclose((high - low) / 2, 0.098, atol=0.02)
