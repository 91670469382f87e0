"""The decode loop: prompts in, sampled tokens out, one step at a time for a whole batch.

It owns the key-value cache and the batch's shrinking as sequences finish. It knows the model and
token ids; it does not know messages, text or the order of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from resources.engines.sampling import choose

if TYPE_CHECKING:
    from resources.engines.causal import Causal
    from resources.engines.protocol import Sampling

_GROW = 64  # Tokens by which the cache grows at a time.
_COMPACT_BELOW = 0.75  # Share of unfinished rows under which finished ones are taken out.


class StaticCache:
    """Keys and values in buffers that are written in place, `[B, kv_heads, capacity, D]` a layer.

    A forward pass appends through `update`; `advance` then makes its tokens part of the past.
    """

    def __init__(self) -> None:
        self._buffers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._length

    def advance(self, tokens: int) -> None:
        """Count the tokens of the forward pass that just ended."""
        self._length += tokens

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self._length + key_states.shape[2]
        pair = self._buffers.get(layer_idx)
        if pair is None or pair[0].shape[2] < end:
            capacity = max(end + _GROW, int(self._length * 1.25))
            pair = (
                self._enlarged(key_states, pair and pair[0], capacity),
                self._enlarged(value_states, pair and pair[1], capacity),
            )
            self._buffers[layer_idx] = pair
        keys, values = pair
        keys[:, :, self._length : end] = key_states
        values[:, :, self._length : end] = value_states
        return keys[:, :, :end], values[:, :, :end]

    def _enlarged(
        self, like: torch.Tensor, old: torch.Tensor | None, capacity: int
    ) -> torch.Tensor:
        batch, heads, _, size = like.shape
        new = like.new_empty(batch, heads, capacity, size)
        if old is not None:
            new[:, :, : self._length] = old[:, :, : self._length]
        return new

    def select(self, rows: torch.Tensor) -> None:
        """Keep the given rows of the batch, in that order; rows may repeat."""
        for layer, (keys, values) in self._buffers.items():
            self._buffers[layer] = (keys.index_select(0, rows), values.index_select(0, rows))


@dataclass(frozen=True)
class Step:
    """One decode step: `rows[i]` (index of the prompt) got `tokens[i]`.

    `logprobs` are under the model's distribution at temperature 1, when asked for.
    """

    rows: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    logprobs: npt.NDArray[np.float32] | None


def decode(
    model: Causal,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    uniform: npt.NDArray[np.float64],
    sampling: Sampling,
    stop: frozenset[int],
    *,
    logprobs: bool = False,
    over: Callable[[Step], npt.NDArray[np.bool_]] | None = None,
) -> Iterator[Step]:
    """Decode a batch until every sequence met a stop token or has its limit of new tokens.

    `over` says of each row of a step whether its sequence ends there for another reason.

    `uniform` `[prompts, tokens]` holds one number a token. Equal prompts are prefilled once.
    Only unfinished sequences appear in a step. Raises ValueError for an empty prompt.
    """
    if not all(prompts):
        raise ValueError("a prompt has no tokens")
    device = model.device
    stops = torch.tensor(sorted(stop), device=device)
    remaining = torch.tensor(limits, device=device)
    numbers = torch.from_numpy(np.ascontiguousarray(uniform.T)).to(device)
    cache = getattr(model, "new_cache", StaticCache)()
    with torch.inference_mode():
        logits, mask, positions = _prefill(model, prompts, cache)
        rows = torch.arange(len(prompts), device=device)
        alive = torch.ones(len(prompts), dtype=torch.bool, device=device)
    for step in range(uniform.shape[1]):
        with torch.inference_mode():
            tokens = choose(logits, numbers[step, rows], sampling.temperature, sampling.top_p)
            scores = None
            if logprobs:
                chosen = logits.float().log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)
                scores = chosen[alive].cpu().numpy()
            result = Step(rows[alive].cpu().numpy(), tokens[alive].cpu().numpy(), scores)
            alive = alive & ~torch.isin(tokens, stops) & (remaining[rows] > step + 1)
        if over is not None:
            ended = torch.from_numpy(over(result)).to(device)
            alive = alive & ~torch.isin(rows, torch.from_numpy(result.rows).to(device)[ended])
        yield result
        living = int(alive.sum())
        if living == 0:
            return
        with torch.inference_mode():
            if living < _COMPACT_BELOW * len(alive):
                keep = alive.nonzero().squeeze(1)
                rows, tokens, positions, alive = (
                    x.index_select(0, keep) for x in (rows, tokens, positions, alive)
                )
                mask = None if mask is None else mask.index_select(0, keep)
                cache.select(keep)
            if mask is not None:
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            logits = _forward(model, tokens[:, None], mask, positions[:, None], cache)
            positions = positions + 1


def _prefill(
    model: Causal, prompts: Sequence[Sequence[int]], cache: StaticCache
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Run the left-padded distinct prompts.

    Returns the next token's logits `[B, V]`, the padding mask `[B, longest]` (None when nothing is
    padded) and the next positions `[B]`, a row for each prompt.
    """
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    longest = max(map(len, distinct))
    ids = torch.zeros(len(distinct), longest, dtype=torch.long)
    mask = torch.zeros(len(distinct), longest, dtype=torch.bool)
    for row, prompt in enumerate(distinct):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = True
    ids, mask = ids.to(model.device), mask.to(model.device)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    padded = not bool(mask.all())
    logits = _forward(model, ids, mask if padded else None, positions, cache)
    place = {prompt: row for row, prompt in enumerate(distinct)}
    rows = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=model.device)
    cache.select(rows)
    return (
        logits.index_select(0, rows),
        mask.index_select(0, rows) if padded else None,
        positions[rows, -1] + 1,
    )


def _forward(
    model: Causal,
    ids: torch.Tensor,
    mask: torch.Tensor | None,
    positions: torch.Tensor,
    cache: StaticCache,
) -> torch.Tensor:
    """Logits `[B, V]` after the last token of `ids` `[B, T]`."""
    output = model(
        ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        logits_to_keep=1,
    )
    cache.advance(ids.shape[1])
    return output.logits[:, -1]
