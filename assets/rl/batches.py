"""Token sequences of rollouts as right-padded training batches, and their log-probabilities.

Knows prompts, responses and models; not rewards or advantages. A causal model does not see padding
on the right, so no mask is needed, and logits are only made from the shortest prompt's end on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resources.training.objectives import IGNORE, token_logprobs

DEFAULT_ROWS = 32  # sequences forwarded together unless the execution says otherwise


@dataclass(frozen=True)
class Tokens:
    """A prompt and its sampled response, stop token included."""

    prompt: Sequence[int]
    response: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def chunks(tokens: Sequence[Tokens], rows: int) -> list[list[int]]:
    """Indices in groups of at most `rows`, sequences of similar length together."""
    order = sorted(range(len(tokens)), key=lambda index: (len(tokens[index]), index))
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def collate(tokens: Sequence[Tokens]) -> dict[str, Any]:
    """`input_ids [B,T]`; `labels [B,K]` of the last K positions, ignored outside responses; `keep`.

    The last token of a sequence predicts nothing and is left out.
    """
    if not all(one.prompt and one.response for one in tokens):
        raise ValueError("a rollout has an empty prompt or response")
    width = max(map(len, tokens)) - 1
    first = min(len(one.prompt) for one in tokens) - 1
    input_ids = torch.zeros(len(tokens), width, dtype=torch.long)
    labels = torch.full((len(tokens), width - first), IGNORE, dtype=torch.long)
    for row, one in enumerate(tokens):
        ids = torch.tensor([*one.prompt, *one.response])
        input_ids[row, : len(ids) - 1] = ids[:-1]
        begin = len(one.prompt) - 1
        labels[row, begin - first : len(ids) - 1 - first] = ids[begin + 1 :]
    return {
        "input_ids": input_ids,
        "labels": labels,
        "keep": width - first,
        "tokens": sum(map(len, tokens)),
    }


def place(values: Sequence[Sequence[float] | Tensor], labels: Tensor) -> Tensor:
    """Per-token values of each response where `labels` [B,K] has its tokens, 0 elsewhere."""
    placed = torch.zeros(labels.shape)
    for row, value in enumerate(values):
        placed[row, labels[row] != IGNORE] = torch.as_tensor(value, dtype=torch.float32)
    return placed


def forward(model: torch.nn.Module, batch: dict[str, Any]) -> Tensor:
    """Log-probabilities `[B,K]` of a batch at temperature 1; 0 where labels are ignored."""
    logits = model(batch["input_ids"], logits_to_keep=batch["keep"]).logits
    return token_logprobs(logits, batch["labels"])


@torch.inference_mode()
def response_logprobs(
    model: torch.nn.Module, tokens: Sequence[Tokens], rows: int = DEFAULT_ROWS
) -> list[Tensor]:
    """Log-probability of every response token under `model`: one `[length]` tensor a sequence."""
    device = next(model.parameters()).device
    found: list[Tensor] = [torch.empty(0)] * len(tokens)
    for chunk in chunks(tokens, rows):
        batch = collate([tokens[index] for index in chunk])
        moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
        logprobs = forward(model, moved).cpu()
        for row, index in enumerate(chunk):
            found[index] = logprobs[row][batch["labels"][row] != IGNORE].clone()
    return found
