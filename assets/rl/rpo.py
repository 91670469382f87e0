"""Reward-aware preference optimisation (RPO): the loss on pairs, and how pairs become batches.

Shared by the offline and the online stage. Knows pairs of token sequences with rewards; not where
they were sampled or who scored them.
Source: arXiv 2406.11704 section 3.3.2; arXiv 2505.00949 section 6.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from assets.rl import batches
from assets.rl.batches import Tokens
from resources.training.objectives import Loss, rpo


@dataclass(frozen=True)
class TrainingPair:
    """Two responses, their rewards, and their log-probabilities under the reference."""

    chosen: Tokens
    rejected: Tokens
    chosen_reward: float
    rejected_reward: float
    chosen_reference: float
    rejected_reference: float


def with_reference(
    reference: torch.nn.Module,
    pairs: Sequence[tuple[Tokens, Tokens]],
    rewards: Sequence[tuple[float, float]],
    rows: int,
) -> list[TrainingPair]:
    """Pairs with the reference model's log-probability of each whole response."""
    flat = [tokens for pair in pairs for tokens in pair]
    sums = [float(one.double().sum()) for one in batches.response_logprobs(reference, flat, rows)]
    return [
        TrainingPair(*pair, *reward, sums[2 * index], sums[2 * index + 1])
        for index, (pair, reward) in enumerate(zip(pairs, rewards, strict=True))
    ]


def micro_batches(pairs: Sequence[TrainingPair], rows: int) -> list[dict[str, Any]]:
    """Padded batches of at most `rows` sequences: first all chosen, then all rejected ones."""
    order = sorted(
        range(len(pairs)), key=lambda i: (max(len(pairs[i].chosen), len(pairs[i].rejected)), i)
    )
    size = max(1, rows // 2)
    found = []
    for start in range(0, len(order), size):
        members = [pairs[index] for index in order[start : start + size]]
        batch = batches.collate([p.chosen for p in members] + [p.rejected for p in members])
        batch["reference"] = torch.tensor(
            [p.chosen_reference for p in members] + [p.rejected_reference for p in members]
        )
        batch["rewards"] = torch.tensor(
            [p.chosen_reward for p in members] + [p.rejected_reward for p in members]
        )
        batch["total"] = len(pairs)
        found.append(batch)
    return found


def rpo_loss(model: torch.nn.Module, batch: dict[str, Any], *, recipe: Mapping[str, Any]) -> Loss:
    """RPO of a micro-batch, divided by beta.

    Adam undoes a constant factor of the loss, but its epsilon and the weight decay do not: with the
    paper's beta of 1e-5 they would decide the step. Metrics are those of the undivided loss.
    """
    sums = batches.forward(model, batch).sum(-1)
    chosen, rejected = sums.chunk(2)
    chosen_reference, rejected_reference = batch["reference"].chunk(2)
    chosen_reward, rejected_reward = batch["rewards"].chunk(2)
    loss = rpo(
        chosen,
        rejected,
        chosen_reference,
        rejected_reference,
        chosen_reward,
        rejected_reward,
        beta=recipe["beta"],
        eta=recipe["eta"],
        form=recipe["form"],
        total=batch["total"],
    )
    return Loss(loss.loss / recipe["beta"], loss.metrics)
