"""Random numbers of a request and the choice of a token from logits.

A request owns its random numbers: they come from a counter-based generator keyed by the request,
one number a token, and never depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch


def uniforms(keys: Sequence[bytes], count: int) -> npt.NDArray[np.float64]:
    """`[len(keys), count]` uniform numbers in [0, 1): row i belongs to `keys[i]` alone.

    Philox-4x64 keyed by the first 16 bytes of the key; number t is the same for every `count`.
    """
    rows = np.empty((len(keys), count))
    for row, key in zip(rows, keys, strict=True):
        words = np.frombuffer(key[:16], dtype="<u8").astype(np.uint64)
        row[:] = np.random.Generator(np.random.Philox(key=words)).random(count)
    return rows


def choose(
    logits: torch.Tensor, uniform: torch.Tensor, temperature: float, top_p: float
) -> torch.Tensor:
    """A token for each row: greedy at temperature 0, else by the inverse of the distribution.

    logits is `[B, V]`, uniform float64 `[B]`; returns `[B]`. With `top_p` below 1 the smallest set
    of most likely tokens whose mass reaches it is kept (ties by token id) and renormalised.
    """
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits.float() / temperature).softmax(-1)
    if top_p >= 1:
        return _invert(probabilities, uniform)
    ordered, tokens = _most_likely(probabilities, top_p)
    before = ordered.cumsum(-1) - ordered
    kept = ordered.masked_fill(before >= top_p, 0.0)
    return tokens.gather(1, _invert(kept, uniform)[:, None]).squeeze(1)


def _most_likely(
    probabilities: torch.Tensor, top_p: float, width: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities in descending order with their tokens, at least up to the mass `top_p`."""
    vocabulary = probabilities.shape[-1]
    if width < vocabulary:
        top, tokens = probabilities.topk(width, dim=-1)
        # Which of several equal probabilities at the cut is here is arbitrary: none may be needed.
        above = top.masked_fill(top <= top[:, -1:], 0.0)
        if bool((above.sum(-1) >= top_p).all()):
            return _by_token(top, tokens)
    ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    return ordered, tokens


def _by_token(top: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Order equal probabilities by token id, as a stable sort of the whole row would."""
    by_id = tokens.argsort(-1)
    top, tokens = top.gather(1, by_id), tokens.gather(1, by_id)
    ordered, order = top.sort(dim=-1, descending=True, stable=True)
    return ordered, tokens.gather(1, order)


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulative weight exceeds `uniform` times the total."""
    cumulative = weights.double().cumsum(-1)
    threshold = uniform[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, threshold, right=True).squeeze(1)
    return index.clamp(max=weights.shape[-1] - 1)
