"""How far a child's predictions are from its parent's: seven metrics, each 0 for the parent.

All come from the same forward pass: the state that the head reads and the logits. Knows tensors
only; what a child is and which tokens it saw is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

SCORE, LONG, TASK = "score", "long_context", "task"
SETS = {"kl_long": LONG, "task": TASK}  # the other metrics share the first set
OF_STATES = ("hidden_cosine", "hidden_mse")  # metrics that need no logits


def set_of(metric: str) -> str:
    """The set of tokens that a metric is measured on: one of `SCORE`, `LONG`, `TASK`."""
    return SETS.get(metric, SCORE)


@dataclass(frozen=True)
class Tokens:
    """What was read, `[B, T]` each: ids, document numbers (negative: padding), answer tokens."""

    ids: torch.Tensor
    documents: torch.Tensor
    answers: torch.Tensor | None = None

    def following(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(next id, whether it belongs to the same document) of each place, `[B, T]`."""
        same = torch.zeros_like(self.ids, dtype=torch.bool)
        same[:, :-1] = (self.documents[:, 1:] == self.documents[:, :-1]) & (
            self.documents[:, 1:] >= 0
        )
        return self.ids.roll(-1, 1), same


@dataclass(frozen=True)
class Reference:
    """What the metrics need of the parent on a batch; None what none of them needs.

    `state` `[B, T, H]`, `probabilities` `[B, T, V]`, `negentropy` Σ p log p `[B, T]`, `likely`
    `[B, T, k]` ids, `loss` `[B]`, `following` ids and `counted` places `[B, T]` (of the loss, or of
    the answers), `answered` `[B]`.
    """

    metrics: tuple[str, ...]
    state: torch.Tensor
    following: torch.Tensor
    counted: torch.Tensor
    probabilities: torch.Tensor | None = None
    negentropy: torch.Tensor | None = None
    likely: torch.Tensor | None = None
    loss: torch.Tensor | None = None
    answered: torch.Tensor | None = None


def refer(
    metrics: Sequence[str],
    tokens: Tokens,
    state: torch.Tensor,
    logits: torch.Tensor | None,
    k: int = 1,
) -> Reference:
    """The parent's side of some metrics of one set; `logits` None if all are of states."""
    following, counted = tokens.following()
    if "task" in metrics and tokens.answers is not None:
        counted = counted & tokens.answers.roll(-1, 1)
    found: dict[str, torch.Tensor] = {}
    if logits is not None:
        if "top_k" in metrics:
            found["likely"] = logits.topk(k, -1).indices
        if "task" in metrics:
            found["answered"] = answered(logits.argmax(-1), following, counted)
        logs = torch.log_softmax(_float(logits), -1)
        if {"kl", "kl_long"} & set(metrics):
            found["probabilities"] = logs.exp()
            found["negentropy"] = (found["probabilities"] * logs).sum(-1)
        if "lm_loss" in metrics:
            found["loss"] = mean_over(-_chosen(logs, following), counted)
    return Reference(tuple(metrics), state, following, counted, **found)


def compare(reference: Reference, state: torch.Tensor, logits: torch.Tensor | None) -> torch.Tensor:
    """The metrics `[M, B]` of a child on the batch that `reference` is of.

    `logits` `[B, T, V]` are overwritten: a second array of that size is never held.
    """
    values: dict[str, torch.Tensor] = {}
    if "hidden_cosine" in reference.metrics:
        values["hidden_cosine"] = cosine_distance(reference.state, state)
    if "hidden_mse" in reference.metrics:
        values["hidden_mse"] = normalised_error(reference.state, state)
    if logits is not None:
        following, counted = reference.following, reference.counted
        if reference.likely is not None:
            values["top_k"] = outside(logits.argmax(-1), reference.likely)
        if reference.answered is not None:
            found = answered(logits.argmax(-1), following, counted)
            values["task"] = reference.answered - found
        if reference.probabilities is not None or reference.loss is not None:
            values |= _likelihoods(reference, _shifted(_float(logits)))
    return torch.stack([values[name].double() for name in reference.metrics])


def _likelihoods(reference: Reference, shifted: torch.Tensor) -> dict[str, torch.Tensor]:
    """KL Σ p log p - Σ p z + log Σ exp z and the increase of the loss, of logits z `shifted`."""
    inner = next_logit = None
    if reference.probabilities is not None:
        inner = torch.linalg.vecdot(reference.probabilities, shifted)
    if reference.loss is not None:
        next_logit = _chosen(shifted, reference.following)
    log_sum = shifted.exp_().sum(-1).log()
    values: dict[str, torch.Tensor] = {}
    if inner is not None and reference.negentropy is not None:
        kl = (reference.negentropy - inner + log_sum).mean(-1)
        values |= {name: kl for name in ("kl", "kl_long") if name in reference.metrics}
    if next_logit is not None and reference.loss is not None:
        values["lm_loss"] = mean_over(log_sum - next_logit, reference.counted) - reference.loss
    return values


def cosine_distance(parent: torch.Tensor, child: torch.Tensor) -> torch.Tensor:
    """1 - cosine of the two states of a token, mean over a sequence's tokens: `[B]`."""
    return (1 - torch.cosine_similarity(_float(parent), _float(child), dim=-1)).mean(-1)


def normalised_error(parent: torch.Tensor, child: torch.Tensor) -> torch.Tensor:
    """‖child - parent‖² / ‖parent‖² of each sequence, over tokens and channels: `[B]`."""
    parent, child = _float(parent), _float(child)
    return (child - parent).square().sum((-2, -1)) / parent.square().sum((-2, -1))


def outside(first: torch.Tensor, likely: torch.Tensor) -> torch.Tensor:
    """Share of a sequence's tokens whose `first` `[B, T]` is not among `likely` `[B, T, k]`."""
    return 1 - (likely == first[..., None]).any(-1).double().mean(-1)


def answered(first: torch.Tensor, following: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """1 for a row `[B, T]` in which `first` is the next id at every counted place, else 0."""
    return ((first == following) | ~counted).all(-1).double()


def mean_over(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean of a sequence's counted values `[B]`; 0 where none is counted."""
    return (values * counted).sum(-1) / counted.sum(-1).clamp_min(1)


def _chosen(values: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return values.gather(-1, ids[..., None]).squeeze(-1)


def _shifted(logits: torch.Tensor) -> torch.Tensor:
    """Logits less their maximum, in place: what is likely is near 0, where floats are finest."""
    return logits.sub_(logits.amax(-1, keepdim=True))


def _float(values: torch.Tensor) -> torch.Tensor:
    """In float32 or better."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
