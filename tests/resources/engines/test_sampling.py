from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from resources.engines.sampling import choose, uniforms

KEYS = [hashlib.sha256(bytes([i])).digest() for i in range(5)]


def test_random_numbers_belong_to_the_key_alone() -> None:
    numbers = uniforms(KEYS, 40)
    assert np.array_equal(uniforms([KEYS[3]], 40)[0], numbers[3])
    assert np.array_equal(uniforms(KEYS, 7), numbers[:, :7])
    assert len(np.unique(numbers)) == numbers.size
    assert numbers.min() >= 0 and numbers.max() < 1


def test_inverse_of_the_distribution_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().expand(6, 3)
    uniform = torch.tensor([0.0, 0.49, 0.51, 0.79, 0.81, 0.999], dtype=torch.float64)
    assert choose(logits, uniform, 1.0, 1.0).tolist() == [0, 0, 1, 1, 2, 2]
    # Top-p 0.7 keeps 0.5 and 0.3: the border between them moves to 0.625.
    assert choose(logits, uniform, 1.0, 0.7).tolist() == [0, 0, 0, 1, 1, 1]
    # Temperature 0.5 squares: 25, 9 and 4 of 38.
    assert choose(logits, uniform, 0.5, 1.0).tolist() == [0, 0, 0, 1, 1, 2]
    assert choose(logits, uniform, 0.0, 1.0).tolist() == [0] * 6


def test_ties_at_the_top_p_border_go_by_token_id() -> None:
    logits = torch.zeros(1, 300)
    uniform = torch.tensor([0.999], dtype=torch.float64)
    assert choose(logits, uniform, 1.0, 0.01).item() == 2


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.95, 0.999])
def test_top_p_is_the_same_with_and_without_a_full_sort(top_p: float) -> None:
    generator = torch.Generator().manual_seed(0)
    # Rounded, so that ties occur; peaked in the first half of the rows only.
    logits = (torch.randn(64, 500, generator=generator) * 3).round()
    logits[:32] *= 4
    uniform = torch.rand(64, generator=generator, dtype=torch.float64)
    together = choose(logits, uniform, 1.0, top_p)
    single = [choose(logits[i : i + 1], uniform[i : i + 1], 1.0, top_p).item() for i in range(64)]
    expected = []
    for row, number in zip(logits.softmax(-1), uniform.tolist(), strict=True):
        order = sorted(range(500), key=lambda i: (-row[i].item(), i))
        mass, kept = torch.tensor(0.0), []
        for token in order:
            if mass >= top_p:
                break
            kept.append(token)
            mass = mass + row[token]
        weights = row[kept].double().cumsum(0)
        expected.append(kept[int((weights <= number * weights[-1]).sum())])
    assert together.tolist() == single == expected


def test_frequencies_follow_the_model() -> None:
    logits = torch.tensor([0.1, 0.6, 0.3]).log()[None].expand(20000, 3)
    uniform = torch.rand(20000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = torch.bincount(choose(logits, uniform, 1.0, 1.0), minlength=3) / 20000
    assert torch.allclose(counts, torch.tensor([0.1, 0.6, 0.3]), atol=0.015)
