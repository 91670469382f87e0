"""Chunked and cached distillation against the plain losses and hand-computed numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.training.distilling import (
    depth_map,
    in_chunks,
    layer_cosine,
    top_k,
    top_k_distillation,
)
from resources.training.objectives import Loss, distillation, hidden_cosine

VOCABULARY, HIDDEN = 37, 8


def states() -> tuple[torch.Tensor, torch.nn.Linear, torch.Tensor, torch.nn.Linear, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    heads = [torch.nn.Linear(size, VOCABULARY, bias=False) for size in (HIDDEN, 12)]
    for head in heads:
        head.weight.data = draw(*head.weight.shape)
    weights = (torch.rand(2, 9, generator=generator) < 0.6).float()
    return (draw(2, 9, HIDDEN).requires_grad_(), heads[0], draw(2, 9, 12), heads[1], weights)


def chunked(
    student: torch.Tensor,
    student_head: Callable[[torch.Tensor], torch.Tensor],
    teacher: torch.Tensor,
    teacher_head: Callable[[torch.Tensor], torch.Tensor],
    weights: torch.Tensor,
    total: float,
    temperature: float = 1.0,
    direction: str = "forward",
    chunk: int = 1024,
) -> Loss:
    """`objectives.distillation` from the states before the heads, a chunk of tokens at a time."""

    def term(state: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> Loss:
        with torch.no_grad():
            logits = teacher_head(target)
        return distillation(student_head(state), logits, weight, total, temperature, direction)

    return in_chunks(term, weights, chunk, student, teacher)


@pytest.mark.parametrize("direction", ["forward", "reverse", "symmetric"])
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_chunked_is_the_plain_loss_and_gradient(direction: str, chunk: int) -> None:
    student, head, teacher, teacher_head, weights = states()
    total = float(weights.sum())
    plain = distillation(head(student), teacher_head(teacher), weights, total, 2.0, direction)
    wanted = torch.autograd.grad(plain.loss, [student, head.weight])
    made = chunked(student, head, teacher, teacher_head, weights, total, 2.0, direction, chunk)
    found = torch.autograd.grad(made.loss, [student, head.weight])
    assert made.loss.item() == pytest.approx(plain.loss.item(), rel=1e-6)
    assert made.metrics.keys() == plain.metrics.keys()
    for name, value in plain.metrics.items():
        assert made.metrics[name].item() == pytest.approx(value.item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_chunked_never_makes_all_logits() -> None:
    student, head, teacher, teacher_head, weights = states()
    seen: list[int] = []

    def counted(state: torch.Tensor) -> torch.Tensor:
        seen.append(len(state))
        return head(state)

    chunked(student, counted, teacher, teacher_head, weights, 1.0, chunk=3).loss.backward()
    assert max(seen) == 3
    # Once forward and once again backward, tokens of weight 0 never.
    assert sum(seen) == 2 * int(weights.sum())


def test_without_weights_the_loss_is_zero_and_can_be_backpropagated() -> None:
    student, head, teacher, teacher_head, weights = states()
    loss = chunked(student, head, teacher, teacher_head, weights * 0, 1.0).loss
    loss.backward()
    assert loss.item() == 0 and student.grad is not None and not student.grad.any()


def test_top_k_with_a_rest_bin_by_hand() -> None:
    # Teacher 1/2, 1/4, 1/8, 1/8; student uniform: 1/2 ln 2 + 1/4 ln 1 + 1/4 ln(1/4 / 1/2).
    teacher = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()[None, None]
    indices, logs = top_k(teacher, 2)
    assert indices.tolist() == [[[0, 1]]]
    loss = top_k_distillation(torch.zeros(1, 1, 4), indices, logs, torch.ones(1, 1), 1.0)
    assert loss.loss.item() == pytest.approx(0.5 * math.log(2) - 0.25 * math.log(2), abs=1e-6)
    assert loss.metrics["rest"].item() == pytest.approx(0.25, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.7, 1.0, 2.0]))
def test_top_k_bounds_the_full_divergence_from_below_and_reaches_it(seed: int, heat: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    teacher, student = (3 * torch.randn(1, 3, 11, generator=generator) for _ in range(2))
    ones = torch.ones(1, 3)
    full = distillation(student, teacher, ones, 3.0, heat).loss.item()
    bounds = [
        top_k_distillation(student, *top_k(teacher, k, heat), ones, 3.0, heat).loss.item()
        for k in (1, 3, 7, 11)
    ]
    assert bounds == sorted(bounds) or max(a - b for a, b in itertools.pairwise(bounds)) < 1e-5
    assert bounds[-1] == pytest.approx(full, rel=1e-4, abs=1e-5)


def test_depth_map_and_layer_cosine() -> None:
    assert depth_map(3, [None] * 3) == [0, 1, 2]
    assert depth_map(6, [0, 0, None, 2, 2, None]) == [1, 2, 4, 5]
    with pytest.raises(ValueError, match="3 teacher layers, but 1 entries"):
        depth_map(3, [None])
    states = [torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(n)) for n in range(4)]
    ones = torch.ones(1, 4)
    loss = layer_cosine(states[:2], states, [1, 3], ones, 4.0)
    wanted = [hidden_cosine(states[i], states[j], ones, 4.0).loss for i, j in ((0, 1), (1, 3))]
    assert loss.loss.item() == pytest.approx(sum(w.item() for w in wanted) / 2, rel=1e-6)
    same = layer_cosine(states, states, [0, 1, 2, 3], ones, 4.0)
    assert same.loss.item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="depth map has 1"):
        layer_cosine(states, states, [0], ones, 4.0)
