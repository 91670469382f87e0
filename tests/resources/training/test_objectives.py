"""Losses against hand-computed values, published oracles and exact identities."""

from __future__ import annotations

import math

import pytest
import torch

from resources.training import objectives

STUDENT = torch.tensor(
    [
        [
            [1.1250, -0.4102, -0.0879, -2.5000],
            [0.2676, 0.3535, 0.8711, -1.4688],
            [-0.1084, 1.6641, 0.0084, 0.1196],
            [0.5000, -0.6406, -0.2236, -1.5938],
        ],
        [
            [-1.5312, -1.9219, 0.0000, -0.5039],
            [-1.5391, 1.5312, 0.5820, 0.2695],
            [-0.3887, 1.2188, 0.0000, 0.6055],
            [0.5000, 1.3828, 0.1309, -1.0312],
        ],
    ]
)
TEACHER = torch.tensor(
    [
        [
            [-0.0381, -1.2578, -1.2031, 0.0947],
            [-0.7852, 0.4492, 1.5547, 0.0972],
            [0.8203, 0.0012, 0.7656, 0.3477],
            [-1.5781, 0.4297, 0.5977, 0.3926],
        ],
        [
            [1.5156, 0.1641, 2.0781, -0.7734],
            [-0.5898, 0.4453, -0.7969, 0.6328],
            [0.6289, -0.8359, 0.9258, 0.2109],
            [0.0006, 0.5195, 3.2344, -1.5781],
        ],
    ]
)


def distil(direction: str, temperature: float = 1.0) -> objectives.Loss:
    ones = torch.ones(2, 4)
    return objectives.distillation(STUDENT, TEACHER, ones, 8.0, temperature, direction)


def test_cross_entropy_by_hand() -> None:
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]]]))
    labels = torch.tensor([[0, 1, objectives.IGNORE]])
    weights = torch.tensor([[1.0, 3.0, 0.0]])
    out = objectives.cross_entropy(logits, labels, weights, 4.0)
    assert out.loss.item() == pytest.approx((math.log(2) + 3 * math.log(10)) / 4, rel=1e-6)
    assert out.metrics["accuracy"].item() == pytest.approx(0.25)


def test_losses_of_micro_batches_add_up_to_the_loss_of_the_step() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5, 11), torch.randint(0, 11, (6, 5))
    weights = (torch.rand(6, 5) > 0.4).float()
    total = weights.sum().item()
    whole = objectives.cross_entropy(logits, labels, weights, total)
    parts = [
        objectives.cross_entropy(logits[s], labels[s], weights[s], total)
        for s in (slice(0, 1), slice(1, 6))
    ]
    assert sum(p.loss.item() for p in parts) == pytest.approx(whole.loss.item(), rel=1e-6)
    for name, value in whole.metrics.items():
        assert sum(p.metrics[name].item() for p in parts) == pytest.approx(value.item(), rel=1e-6)


def test_distillation_matches_the_published_numbers() -> None:
    """torchtune's `test_kd_losses.py`: its forward number, 1.7209, is the cross-entropy."""
    forward, reverse = distil("forward"), distil("reverse")
    assert forward.loss.item() == pytest.approx(0.6293, abs=2e-4)
    entropy = forward.metrics["teacher_entropy"].item()
    assert forward.loss.item() + entropy == pytest.approx(1.7209, abs=2e-3)
    assert reverse.loss.item() == pytest.approx(0.6775, abs=2e-3)
    both = distil("symmetric").loss.item()
    assert both == pytest.approx((forward.loss.item() + reverse.loss.item()) / 2, rel=1e-6)


def test_distillation_from_itself_is_zero_and_temperature_is_squared() -> None:
    ones = torch.ones(2, 4)
    for direction in ("forward", "reverse", "symmetric"):
        loss = objectives.distillation(STUDENT, STUDENT, ones, 8.0, 2.0, direction).loss
        assert loss.item() == pytest.approx(0.0, abs=1e-6)
    warm = distil("forward", temperature=2.0)
    assert warm.loss.item() == pytest.approx(4 * warm.metrics["kl_forward"].item(), rel=1e-6)
    with pytest.raises(ValueError, match="direction is 'sideways'"):
        distil("sideways")


def test_distillation_gradient_is_student_minus_teacher() -> None:
    student = STUDENT.clone().requires_grad_()
    objectives.distillation(student, TEACHER, torch.ones(2, 4), 8.0).loss.backward()
    expected = (STUDENT.softmax(-1) - TEACHER.softmax(-1)) / 8
    torch.testing.assert_close(student.grad, expected, atol=1e-6, rtol=1e-5)


def test_hidden_cosine() -> None:
    student = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    teacher = torch.tensor([[[3.0, 0.0], [1.0, 0.0]]])
    loss = objectives.hidden_cosine(student, teacher, torch.ones(1, 2), 2.0).loss
    assert loss.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("rewards", "method", "expected"),
    [
        ([1, 2, 3], "grpo", [-1, 0, 1]),
        ([1, 2, 3], "rloo", [-1.5, 0, 1.5]),
        ([1, 2, 3], "dr_grpo", [-1, 0, 1]),
        ([0, 0, 1], "rloo", [-0.5, -0.5, 1]),
        ([0, 0, 1], "grpo", [-0.57735, -0.57735, 1.15470]),
        ([2, 2, 2], "grpo", [0, 0, 0]),
    ],
)
def test_advantages(rewards: list[float], method: str, expected: list[float]) -> None:
    groups = torch.zeros(3, dtype=torch.long)
    got = objectives.advantages(torch.tensor(rewards, dtype=torch.float32), groups, method)
    assert got.tolist() == pytest.approx(expected, abs=1e-5)


def test_advantages_of_interleaved_groups() -> None:
    """Leave-one-out baselines of rewards 1..6 in two groups: 2.5, 2, 1.5 and 5.5, 5, 4.5."""
    rewards = torch.tensor([1.0, 4.0, 2.0, 5.0, 3.0, 6.0])
    groups = torch.tensor([7, 3, 7, 3, 7, 3])
    baseline = rewards - objectives.advantages(rewards, groups, "rloo")
    assert baseline.tolist() == pytest.approx([2.5, 5.5, 2.0, 5.0, 1.5, 4.5])


def test_advantages_refuse_a_group_of_one() -> None:
    with pytest.raises(ValueError, match="1 of 2 groups have one response"):
        objectives.advantages(torch.zeros(3), torch.tensor([0, 0, 1]))


def test_clipped_policy_gradient() -> None:
    """NeMo-RL `test_loss_functions.py:456`: ratios 0.5, 1, 1.5 clipped to 0.8, 1, 1.2."""
    current = torch.tensor([[-1.69315, -1.0, -0.59453]])
    old = torch.full((1, 3), -1.0)
    out = objectives.policy(
        current, old, torch.tensor([[1.0, -1.0, 2.0]]), torch.ones(1, 3), 3.0, aggregation="token"
    )
    assert out.loss.item() == pytest.approx(-0.6333, abs=1e-4)
    assert out.metrics["clip_fraction"].item() == pytest.approx(1 / 3)
    assert out.metrics["ratio"].item() == pytest.approx(1.0, abs=1e-4)


def test_truncated_importance_sampling() -> None:
    """NeMo-RL `test_loss_functions.py:1330`: as above, engine [-.5, -1.5, -.8], cap .8."""
    out = objectives.policy(
        torch.tensor([[-1.69315, -1.0, -0.59453]]),
        torch.full((1, 3), -1.0),
        torch.tensor([[1.0, -1.0, 2.0]]),
        torch.ones(1, 3),
        3.0,
        aggregation="token",
        engine_logprobs=torch.tensor([[-0.5, -1.5, -0.8]]),
        engine_cap=0.8,
    )
    assert out.loss.item() == pytest.approx(-0.4744, abs=1e-4)
    assert out.metrics["engine_error"].item() == pytest.approx((0.5 + 0.5 + 0.2) / 3, rel=1e-5)


def test_policy_aggregations_and_padding() -> None:
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, 99.0]])
    mask = torch.tensor([[1, 1], [1, 0]])
    reward = torch.tensor([2.0, 1.0])
    old = logprobs.clone()
    old[1, 1] = -1e4
    sequence = objectives.policy(logprobs, old, reward, mask, 2.0)
    assert sequence.loss.item() == pytest.approx(-(2 + 1) / 2)
    token = objectives.policy(logprobs, old, reward, mask, 3.0, aggregation="token")
    assert token.loss.item() == pytest.approx(-(2 + 2 + 1) / 3)


def test_policy_gradient_on_policy_is_reinforce() -> None:
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, -1.0]], requires_grad=True)
    reward = torch.tensor([0.5, -1.0])
    objectives.policy(
        logprobs, logprobs.detach(), reward, torch.ones(2, 2), 2.0, aggregation="token"
    ).loss.backward()
    expected = torch.tensor([[-0.25, -0.25], [0.5, 0.5]])
    torch.testing.assert_close(logprobs.grad, expected)


def test_policy_kl_is_k3() -> None:
    logprobs = torch.tensor([[-1.0, -2.0]])
    reference = torch.tensor([[-1.5, -1.0]])
    out = objectives.policy(
        logprobs,
        logprobs,
        torch.zeros(1),
        torch.ones(1, 2),
        1.0,
        reference_logprobs=reference,
        beta=0.1,
    )
    k3 = ((math.exp(-0.5) + 0.5 - 1) + (math.exp(1.0) - 1.0 - 1)) / 2
    assert out.metrics["kl"].item() == pytest.approx(k3, rel=1e-6)
    assert out.loss.item() == pytest.approx(0.1 * k3, rel=1e-6)
    with pytest.raises(ValueError, match="needs reference_logprobs"):
        objectives.policy(logprobs, logprobs, torch.zeros(1), torch.ones(1, 2), 1.0, beta=0.1)


def rpo_of(a: float, b: float, form: str) -> torch.Tensor:
    zero = torch.zeros(1, dtype=torch.float64)
    return objectives.rpo(
        zero + a, zero, zero, zero, zero + b, zero, beta=1.0, eta=1.0, form=form
    ).loss


@pytest.mark.parametrize(
    ("a", "b", "backward", "forward"),
    [
        (0.0, 1.0, 0.1109440717, 0.1201145070),
        (1.0, 0.0, 0.1201145070, 0.1109440717),
        (0.5, 2.0, 0.1683445901, 0.2191620301),
        (-1.0, 3.0, 1.0749708432, 1.6595599786),
        (2.0, -2.0, 1.5231883119, 1.5231883119),
    ],
)
def test_rpo_values(a: float, b: float, backward: float, forward: float) -> None:
    assert rpo_of(a, b, "backward").item() == pytest.approx(backward, abs=1e-10)
    assert rpo_of(a, b, "forward").item() == pytest.approx(forward, abs=1e-10)
    assert rpo_of(a, b, "squared").item() == pytest.approx((a - b) ** 2)


def test_rpo_gradients_and_limits() -> None:
    chosen = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(2, dtype=torch.float64)
    reward = torch.tensor([1.0, 2.0], dtype=torch.float64)
    a, b = 0.5 * chosen.detach(), 3.0 * reward
    objectives.rpo(chosen, zero, zero, zero, reward, zero, beta=0.5, eta=3.0).loss.backward()
    expected = 0.5 * (torch.sigmoid(a) - torch.sigmoid(b)) / 2
    torch.testing.assert_close(chosen.grad, expected)
    # b -> infinity is DPO: torchtune's test has logits 0, 10, 20 at beta 0.1.
    far = torch.full((3,), 1e6, dtype=torch.float64)
    logits = torch.tensor([0.0, 10.0, 20.0], dtype=torch.float64)
    z = torch.zeros(3, dtype=torch.float64)
    for index, value in enumerate([0.6931, 0.3133, 0.1269]):
        pick = slice(index, index + 1)
        loss = objectives.rpo(
            logits[pick], z[pick], z[pick], z[pick], far[pick], z[pick], beta=0.1, eta=1.0
        ).loss
        assert loss.item() == pytest.approx(value, abs=1e-4)


def test_rpo_total_counts_pairs_of_the_whole_step() -> None:
    pairs = [torch.randn(4) for _ in range(6)]
    whole = objectives.rpo(*pairs, beta=0.1, eta=1.0).loss
    parts = [
        objectives.rpo(*(p[s] for p in pairs), beta=0.1, eta=1.0, total=4.0).loss
        for s in (slice(0, 1), slice(1, 4))
    ]
    assert (parts[0] + parts[1]).item() == pytest.approx(whole.item(), rel=1e-5)


def test_bradley_terry() -> None:
    out = objectives.bradley_terry(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0]))
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2
    assert out.loss.item() == pytest.approx(expected, rel=1e-6)
    assert out.metrics["pair_accuracy"].item() == 0.5
    assert out.metrics["margin"].item() == 0.5


def test_token_logprobs() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)], [1.0, 1.0]]])
    labels = torch.tensor([[1, objectives.IGNORE]])
    got = objectives.token_logprobs(logits, labels)
    assert got[0].tolist() == pytest.approx([math.log(0.75), 0.0], abs=1e-6)
    warm = objectives.token_logprobs(logits, labels, temperature=0.5)
    assert warm[0, 0].item() == pytest.approx(math.log(0.9), abs=1e-6)


def test_weighted_terms_by_hand() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    made = objectives.combine(
        (2.0, objectives.Loss(x * x, {"a": torch.tensor(1.0)})),
        (0.0, objectives.Loss(x * 100, {"b": torch.tensor(2.0)})),
        (0.5, objectives.Loss(x * 4, {"c": torch.tensor(3.0)})),
    )
    made.loss.backward()
    assert x.grad is not None
    assert (made.loss.item(), x.grad.item()) == (24.0, 14.0)  # 2·9 + 0.5·12; 2·6 + 0.5·4
    assert {name: value.item() for name, value in made.metrics.items()} == {"a": 1, "b": 2, "c": 3}
    assert objectives.combine((0.0, made)).loss.item() == 0
