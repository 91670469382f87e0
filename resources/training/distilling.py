"""Distillation where logits do not fit: a chunk of tokens at a time, or from cached top-k logits.

Built on the plain losses in `objectives`, with the same convention: sums of per-token terms over
global totals. Knows hidden states, output heads and cached logits; knows no model and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from resources.training.objectives import Loss, hidden_cosine
from resources.training.ranks import runtime

CHUNK = 1024  # tokens whose logits are held at once


def in_chunks(
    term: Callable[..., Loss], weights: Tensor, chunk: int, states: Tensor, *values: Tensor
) -> Loss:
    """`term` summed over the tokens that carry weight, at most `chunk` of them at once.

    `term(states, *values, weights)` gets the rows `[n,...]` of so many tokens and gives their part
    of a loss over a global total; `weights` `[B,T]`, `states` and `values` `[B,T,...]`. What it
    makes of them, logits above all, is computed again in the backward pass and never held for all
    tokens: peak memory is a few times `chunk`·V numbers instead of B·T·V.
    """
    if chunk < 1:
        raise ValueError(f"chunk is {chunk} tokens; it must be at least 1")
    kept = weights.flatten().nonzero().flatten()
    if not len(kept):
        # One token of weight 0: a loss of 0 that still reaches the parameters behind the states.
        kept = kept.new_zeros(1)
    rows = [value.flatten(0, 1)[kept] for value in (states, *values, weights)]
    names: list[str] = []

    def part(*piece: Tensor) -> Tensor:
        loss = term(*piece)
        names[:] = loss.metrics
        return torch.stack([loss.loss, *(value.to(loss.loss) for value in loss.metrics.values())])

    sums = states.new_zeros((), dtype=torch.float32)
    for number in range(runtime.most(-(-len(kept) // chunk), states.device)):
        piece = [row[number * chunk : (number + 1) * chunk] for row in rows]
        if not len(piece[0]):
            # Another rank has more tokens: call the head as often as it does, for nothing.
            piece = [*(row[:1] for row in rows[:-1]), torch.zeros_like(rows[-1][:1])]
        sums = sums + checkpoint(part, *piece, use_reentrant=False, preserve_rng_state=False)
    return Loss(sums[0], {name: sums[place + 1].detach() for place, name in enumerate(names)})


def top_k(logits: Tensor, k: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """What a cache keeps of a teacher: `(token ids [.., k], log-probabilities [.., k])`.

    Log-probabilities are those of the whole vocabulary at `temperature`, so the mass outside is
    1 - Σ exp.
    """
    scaled = logits.float() / temperature
    values, indices = scaled.topk(k, dim=-1)
    return indices, values - scaled.logsumexp(-1, keepdim=True)


def top_k_distillation(
    student_logits: Tensor,
    indices: Tensor,
    log_probabilities: Tensor,
    weights: Tensor,
    total: float,
    temperature: float = 1.0,
) -> Loss:
    """Forward KL over the teacher's top k tokens and one bin for all the rest, times temperature².

    KL = Σ_k p log(p/q) + p_rest log(p_rest/q_rest), with p_rest = 1 - Σ_k p and q_rest likewise:
    merging outcomes never raises a divergence, so this bounds the full KL from below, and equals it
    when k is the vocabulary. `student_logits [B,T,V]`; `indices` and `log_probabilities [B,T,k]`
    as `top_k` gives them at the same temperature; `weights [B,T]`.
    Metrics: `kl_forward`, `rest` (the teacher's mass outside its top k).
    """
    scaled = student_logits.float() / temperature
    log_q = scaled.gather(-1, indices) - scaled.logsumexp(-1, keepdim=True)
    p = log_probabilities.exp()
    inside = (p * (log_probabilities - log_q)).sum(-1)
    tiny = torch.finfo(torch.float32).eps
    rest = (1 - p.sum(-1)).clamp_min(0.0)
    other = (1 - log_q.exp().sum(-1)).clamp_min(tiny)
    outside = torch.where(
        rest > tiny, rest * (rest.clamp_min(tiny).log() - other.log()), torch.zeros_like(rest)
    )
    kl = ((inside + outside) * weights).sum() / total
    metrics = {"kl_forward": kl.detach(), "rest": (rest * weights).sum() / total}
    return Loss(kl * temperature**2, metrics)


def layer_cosine(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    depth: Sequence[int],
    weights: Tensor,
    total: float,
) -> Loss:
    """Mean over the student's layers of `objectives.hidden_cosine` to the teacher's (Puzzle §5).

    `student[i]` and `teacher[j]` are the states `[B,T,H]` after layers i and j; `depth[i]` is the
    teacher's layer whose output the student's layer i should give (see `depth_map`).
    """
    if len(depth) != len(student):
        raise ValueError(f"{len(student)} student layers, but the depth map has {len(depth)}")
    terms = [
        hidden_cosine(state, teacher[layer], weights, total).loss
        for state, layer in zip(student, depth, strict=True)
    ]
    loss = torch.stack(terms).mean()
    return Loss(loss, {"layer_cosine_distance": loss.detach()})


def depth_map(teacher_layers: int, fused_into: Sequence[int | None]) -> list[int]:
    """For every layer of the student, the teacher's layer whose output it should give.

    `fused_into[j]` is the student's layer that holds teacher layer j where layers were fused, None
    where it stands alone (the `architectures` table). A fused layer answers for the last it holds.

    >>> depth_map(5, [None, 1, 1, 1, None])
    [0, 3, 4]
    """
    if len(fused_into) != teacher_layers:
        raise ValueError(f"{teacher_layers} teacher layers, but {len(fused_into)} entries")
    found: list[int] = []
    for layer, into in enumerate(fused_into):
        alone = into is None or layer == 0 or fused_into[layer - 1] != into
        if alone:
            found.append(layer)
        else:
            found[-1] = layer
    return found
