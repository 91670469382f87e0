"""How much each layer changes the states that pass it: block influence.

Knows a model's layers and sequences; what is done with the numbers is `cuts.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assets.puzzle.calibration import Sequences

if TYPE_CHECKING:
    from resources.models.decoder import LayerSource


def influence(parent: LayerSource, data: Sequences, *, batch: int = 32) -> np.ndarray:
    """1 - cos(state that enters, state that leaves) of every layer, mean over tokens, `[L]`.

    Block influence of ShortGPT (arXiv 2403.03853, equation 1), accumulated in float64.
    """
    import torch

    layers = parent.config.num_hidden_layers
    total, tokens = np.zeros(layers), 0
    with torch.inference_mode():
        for part in data.batches(batch):
            hidden, context = part.context(parent)
            for index in range(layers):
                after = parent.layer(index)(hidden, context)
                cosine = torch.cosine_similarity(hidden.float(), after.float(), dim=-1)
                total[index] += float((1 - cosine).double().sum())
                hidden = after
            tokens += part.tokens
    return total / max(tokens, 1)
