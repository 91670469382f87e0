"""How fast models read a prompt and write after it, measured in turn on the same machine.

One sequence at a time, as a person meets them. Knows models and token ids, no artifacts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PROMPT = 256  # tokens that are read at most
WRITTEN = 16  # decode steps
REPEATS = 3


def speeds(models: Sequence[Any], texts: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """(tokens read a second, tokens written a second) of each model, the best of `REPEATS` turns.

    The prompt is the texts one after another, so far as `PROMPT` and the contexts go. Models take
    turns, so that what else the machine does meets all of them.
    """
    import torch

    room = min(model.config.max_position_embeddings for model in models) - WRITTEN
    prompt = torch.from_numpy(np.concatenate(list(texts))[: max(min(PROMPT, room), 1)])[None]
    best = [(0.0, 0.0)] * len(models)
    for _ in range(REPEATS):
        for place, model in enumerate(models):
            read, wrote = _once(model, prompt.to(model.device))
            best[place] = max(best[place][0], read), max(best[place][1], wrote)
    return best


def _once(model: Any, prompt: torch.Tensor) -> tuple[float, float]:
    import torch

    from resources.engines.decoding import StaticCache

    cache = StaticCache()

    def step(ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(ids, past_key_values=cache, logits_to_keep=1).logits
        cache.advance(ids.shape[1])
        return logits[:, -1:].argmax(-1)  # moves to the host below: a GPU has then finished

    with torch.inference_mode():
        began = time.perf_counter()
        token = step(prompt)
        int(token[0, 0])
        read = time.perf_counter()
        for _ in range(WRITTEN):
            token = step(token)
        int(token[0, 0])
        wrote = time.perf_counter()
    return prompt.shape[1] / (read - began), WRITTEN / (wrote - read)
