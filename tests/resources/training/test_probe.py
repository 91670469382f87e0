"""The start-up probe: it passes our model, and catches models that let documents see each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from resources.training.probe import PackingError, two_documents
from tests.resources.training.rank_targets import VOCABULARY, llama


class Forgetful(nn.Module):
    """Passes on only some of what attention needs to know."""

    def __init__(self, kept: str) -> None:
        super().__init__()
        self.inner, self.kept = llama(), kept

    def forward(self, ids: torch.Tensor, **given: Any) -> Any:
        return self.inner(ids, **{name: v for name, v in given.items() if name == self.kept})


def test_our_model_keeps_documents_apart() -> None:
    model = llama().eval()
    assert two_documents(model, VOCABULARY) < 1e-6
    assert not model.training
    # Document ids alone are enough for ours: it counts positions by them.
    assert two_documents(Forgetful("document_ids"), VOCABULARY) < 1e-6


def test_a_model_that_looks_across_is_named() -> None:
    with pytest.raises(PackingError, match=r"token \d+ of document 2 has logits that differ by"):
        two_documents(Forgetful("position_ids"), VOCABULARY)
    broken = llama()
    nn.init.constant_(broken.lm_head.weight, float("nan"))
    with pytest.raises(PackingError, match="differ by nan"):
        two_documents(broken, VOCABULARY)
