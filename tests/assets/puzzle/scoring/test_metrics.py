"""The metrics of scores by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from assets.puzzle.scoring.build import divergence, log_probabilities
from assets.puzzle.scoring.metrics import Tokens, compare, cosine_distance, normalised_error, refer
from tests.assets.puzzle import tiny
from tests.assets.puzzle.scoring.children import METRICS


def measure(
    metrics: Sequence[str],
    parent: torch.Tensor,
    child: torch.Tensor,
    *,
    ids: Sequence[int] = (0, 0, 0, 0),
    documents: Sequence[int] = (0, 0, 0, 0),
    answers: Sequence[bool] | None = None,
    k: int = 1,
) -> list[float]:
    """Metrics of logits `[T, V]` of one sequence."""
    length = len(parent)
    marked = None if answers is None else torch.tensor([list(answers)[:length]])
    tokens = Tokens(
        torch.tensor([list(ids)[:length]]), torch.tensor([list(documents)[:length]]), marked
    )
    state = torch.ones(1, length, 2).double()
    reference = refer(metrics, tokens, state, parent[None].clone(), k)
    return compare(reference, state, child[None].clone())[:, 0].tolist()


def test_kl_by_hand() -> None:
    certain = torch.zeros(1, 50).double()
    certain[0, 7] = 500
    uniform = torch.zeros(1, 50).double()
    assert measure(["kl"], certain, uniform) == [pytest.approx(math.log(50))]
    logits = torch.randn(4, 50, generator=torch.manual_seed(0)).double()
    assert measure(["kl"], logits, logits) == [pytest.approx(0, abs=1e-12)]
    assert measure(["kl_long"], logits, logits + 4) == [pytest.approx(0, abs=1e-12)]


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_kl_without_a_second_log_softmax_is_the_plain_form(scale: float) -> None:
    parent, child = scale * torch.randn(2, 64, 500, generator=torch.manual_seed(1))
    child = parent + 0.3 * child / scale + 100
    plain = divergence(torch.log_softmax(parent, -1), torch.log_softmax(child, -1)).mean()
    found = measure(["kl"], parent, child, ids=range(64), documents=[0] * 64)
    assert abs(found[0] - float(plain)) < 1e-6


def test_loss_by_hand() -> None:
    """Of four tokens in two documents, two have a next token; the child gives it 3 of 6 parts."""
    parent = torch.zeros(4, 4).double()
    child = torch.zeros(4, 4).double()
    child[0, 2] = child[2, 1] = math.log(3)
    child[1, 0] = child[3, 0] = 50  # across a boundary and at the end: not counted
    found = measure(["lm_loss"], parent, child, ids=[3, 2, 0, 1], documents=[0, 0, 1, 1])
    assert found == [pytest.approx(math.log(2) - math.log(4))]
    alone = measure(["lm_loss"], parent, child, ids=[3, 2, 0, 1], documents=[0, 1, 2, -1])
    assert alone == [0.0]


def test_hidden_state_metrics_by_hand() -> None:
    parent = torch.tensor([[[3.0, 4.0], [0.0, 2.0]], [[1.0, 0.0], [1.0, 0.0]]])
    child = torch.tensor([[[6.0, 8.0], [0.0, -2.0]], [[0.0, 5.0], [1.0, 0.0]]])
    # cosines 1 and -1; 0 and 1
    torch.testing.assert_close(cosine_distance(parent, child), torch.tensor([1.0, 0.5]))
    # (9 + 16 + 16) / (25 + 4); (1 + 25) / 2
    torch.testing.assert_close(normalised_error(parent, child), torch.tensor([41 / 29, 13.0]))
    assert normalised_error(parent, parent).tolist() == [0, 0]
    assert normalised_error(parent, torch.zeros_like(parent)).tolist() == [1, 1]


def test_top_k_by_hand() -> None:
    parent = torch.tensor([[4.0, 3, 2, 1]] * 4)
    child = torch.eye(4)  # its first tokens: 0, 1, 2, 3
    assert [measure(["top_k"], parent, child, k=k)[0] for k in (1, 2, 4)] == [0.75, 0.5, 0.0]


@pytest.mark.parametrize(
    ("parent", "child", "lost"),
    [([1, 2, 3], [1, 2, 3], 0), ([1, 2, 3], [1, 0, 3], 1), ([1, 0, 3], [1, 2, 3], -1)],
)
def test_task_by_hand(parent: list[int], child: list[int], lost: int) -> None:
    """Ids 1 2 3 follow 0; the answer is 2 3: what comes first at its two places counts."""
    logits = [torch.eye(4)[[*first, 0]] for first in (parent, child)]
    answers = (False, False, True, True)
    assert measure(["task"], *logits, ids=[0, 1, 2, 3], answers=answers) == [lost]
    elsewhere = torch.eye(4)[[0, 2, 3, 0]]  # wrong only where the question goes on
    right = torch.eye(4)[[1, 2, 3, 0]]
    assert measure(["task"], right, elsewhere, ids=[0, 1, 2, 3], answers=answers) == [0]


def test_every_metric_of_the_parent_is_zero() -> None:
    logits = torch.randn(4, 9, generator=torch.manual_seed(2)).double()
    values = measure([*METRICS, "task"], logits, logits, answers=[True] * 4, ids=[1, 2, 3, 4], k=2)
    assert values == pytest.approx([0] * 6, abs=1e-12)


def test_kl() -> None:
    uniform = torch.log_softmax(torch.zeros(1, 1, 50, dtype=torch.float64), -1)
    certain = torch.full((1, 1, 50), -math.inf, dtype=torch.float64)
    certain[..., 7] = 0
    assert divergence(uniform, uniform) == 0
    one_hot = torch.log_softmax(torch.where(certain == 0, 500.0, 0.0).double(), -1)
    assert math.isclose(float(divergence(one_hot, uniform)), math.log(50))
    logits = torch.randn(2, 3, 50, dtype=torch.float64)
    shifted = torch.log_softmax(logits + 4, -1)
    assert divergence(torch.log_softmax(logits, -1), shifted).abs().max() < 1e-12


def test_log_probabilities_are_of_the_models_logits() -> None:
    model, batch = tiny.parent(), tiny.data()
    with torch.no_grad():
        hidden, context = batch.context(model)
        for layer in model.model.layers:
            hidden = layer(hidden, context)
        expected = torch.log_softmax(tiny.logits(model, batch), -1)
        assert torch.equal(log_probabilities(model, hidden), expected)
