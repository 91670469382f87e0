"""Padded batches give each response the log-probabilities that it has alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from assets.rl.batches import Tokens, chunks, collate, place, response_logprobs
from resources.models import loading
from resources.training.objectives import IGNORE

SEQUENCES = [
    Tokens([1, 2, 3], [4, 5]),
    Tokens([1, 2, 3, 6, 7], [8]),
    Tokens([9], [10, 11, 12, 13, 14, 15]),
]


def test_labels_are_the_response_shifted() -> None:
    batch = collate(SEQUENCES)
    assert batch["input_ids"].shape == (3, 6) and batch["keep"] == 6
    for row, one in enumerate(SEQUENCES):
        labels = batch["labels"][row]
        where = torch.nonzero(labels != IGNORE).flatten().tolist()
        assert labels[where].tolist() == list(one.response)
        assert where == list(range(len(one.prompt) - 1, len(one) - 1))
    assert collate(SEQUENCES[:2])["keep"] == 3  # nothing before the shortest prompt's end


def test_place_puts_values_on_their_tokens() -> None:
    batch = collate(SEQUENCES)
    values = [torch.arange(len(one.response)) + 1.0 for one in SEQUENCES]
    placed = place(values, batch["labels"])
    assert placed.sum().item() == 3 + 1 + 21
    assert placed[0].tolist() == [0, 0, 1, 2, 0, 0]


def test_logprobs_match_one_by_one_and_the_plain_softmax(tiny_llama: Path) -> None:
    model = loading.load(tiny_llama)
    together = response_logprobs(model, SEQUENCES, rows=2)
    for one, found in zip(SEQUENCES, together, strict=True):
        ids = torch.tensor([[*one.prompt, *one.response]])
        logits = model(ids).logits.log_softmax(-1)[0, len(one.prompt) - 1 : -1]
        expected = logits.gather(1, torch.tensor(one.response)[:, None]).squeeze(1)
        torch.testing.assert_close(found, expected.detach(), atol=2e-5, rtol=0)


def test_chunks_keep_every_sequence_once() -> None:
    made = chunks(SEQUENCES * 3, 4)
    assert sorted(index for chunk in made for index in chunk) == list(range(9))
    assert max(map(len, made)) == 4


def test_empty_responses_are_refused() -> None:
    with pytest.raises(ValueError, match="empty prompt or response"):
        collate([Tokens([1], [])])
