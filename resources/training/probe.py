"""The start-up probe: are packed documents computed as if each stood alone, on this very model?

Attention that looks across documents trains silently on the wrong thing (a mask that is not passed
on, a kernel that ignores it), so a run asks before its first step. Knows logits; no data.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resources.training.data.packing import collate_packed

LENGTHS = (5, 11)  # of the two documents: unequal, so that a wrong boundary shows


class PackingError(RuntimeError):
    """A model lets packed documents see each other."""


@torch.no_grad()
def two_documents(model: nn.Module, vocabulary: int, tolerance: float = 1e-4) -> float:
    """The largest difference of two packed documents' logits from their logits alone.

    Relative to the largest logit; random token ids below `vocabulary`. The model is asked as
    training asks it (position ids, document ids, training mode) and left as it was.
    Raises PackingError above `tolerance`, naming document and token.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    texts = [
        torch.randint(0, vocabulary, (length,), generator=generator).tolist() for length in LENGTHS
    ]
    examples = [(text, [True] * len(text)) for text in texts]

    def logits(members: list[int]) -> Tensor:
        batch = collate_packed(examples, [members], sum(LENGTHS), 0)
        output = model(
            batch["input_ids"].to(device),
            position_ids=batch["position_ids"].to(device),
            document_ids=batch["document_ids"].to(device),
        )
        return output.logits[0].float()

    mode = model.training
    model.train()
    try:
        packed = logits([0, 1])
        alone = torch.cat([logits([0]), logits([1])])
    finally:
        model.train(mode)
    differences = (packed - alone).abs().amax(-1) / alone.abs().max()
    worst = int(differences.argmax())
    # Not-a-number compares false with everything.
    if not float(differences[worst]) <= tolerance:
        second = worst >= LENGTHS[0]
        raise PackingError(
            f"packed documents see each other: token {worst - second * LENGTHS[0]} of document "
            f"{1 + second} has logits that differ by {float(differences[worst]):.2g} of the "
            f"largest from those of the document alone (tolerance {tolerance:.2g}); the model must "
            "pass document_ids and position_ids on to its attention"
        )
    return float(differences[worst])
