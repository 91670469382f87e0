"""Pretraining: batches depend on the chunk alone, and a killed run ends where it would have."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from resources.chat.chat import Chat
from resources.parents import pretrain
from resources.parents.configuration import ParentModel, Parents, Phase
from resources.parents.documents import Document

PHASE = Phase(
    tokens=1500,
    domains={"math": 1.0},
    styles={"direct": 1.0},
    depths={"direct": {1: 1.0}},
)
MODEL = ParentModel(
    "toy",
    {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 16,
    },
    (PHASE,),
)
PARENTS = Parents(
    seed=5,
    vocabulary=1024,
    tokenizer_documents=0,
    optimizer={"learning_rate": 0.01, "warmup_steps": 2, "batch_tokens": 300, "weight_decay": 0.0},
    models={"toy": MODEL},
)
TENSORS = pretrain.tensors


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few documents, and a checkpoint after each of them."""
    monkeypatch.setattr(pretrain, "CHUNK", 24)
    monkeypatch.setattr(pretrain, "SAVE_SECONDS", -1.0)


class Killed(Exception):
    """What the tests raise where a real run would have been killed."""


class Recorder:
    """Stands for `tensors`: notes every batch, and dies before the batch of number `dies_at`."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.dies_at, self.seen = dies_at, list[list[str]]()

    def __call__(self, documents: list[Document], padding: int) -> tuple[Any, Any]:
        if len(self.seen) == self.dies_at:
            raise Killed
        self.seen.append([document.problem.question for document in documents])
        return TENSORS(documents, padding)


def test_a_chunk_depends_on_its_number_alone() -> None:
    chat = Chat.load(pretrain.BUNDLED / "tokenizer")

    def first(start: int, count: int) -> list[tuple[int, bool, list[Document]]]:
        return list(islice(pretrain.batches(PARENTS, MODEL, 0, chat, start), count))

    through = first(0, 40)
    second = [entry for entry in through if entry[0] == 1]
    assert second and first(1, len(second)) == second and second[-1][1]


def test_labels_are_the_next_token_where_loss_is() -> None:
    problem: Any = None
    documents = [
        Document([7, 8, 9], [False, True, True], "direct", problem),
        Document([7, 8], [False, True], "direct", problem),
    ]
    ids, labels = pretrain.tensors(documents, 0)
    assert ids.tolist() == [[7, 8, 9], [7, 8, 0]]
    assert labels.tolist() == [[8, 9, -100], [8, -100, -100]]


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Recorder()
    monkeypatch.setattr(pretrain, "tensors", whole)
    undisturbed = pretrain.train(PARENTS, MODEL, tmp_path / "undisturbed", 1)
    first = _batches_of_chunk(0)
    assert first + 1 < len(whole.seen) <= first + _batches_of_chunk(1)

    killed = Recorder(dies_at=first + 1)  # one batch after the checkpoint: it is done again
    monkeypatch.setattr(pretrain, "tensors", killed)
    with pytest.raises(Killed):
        pretrain.train(PARENTS, MODEL, tmp_path / "killed", 1)
    state = torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["state"]
    assert (state["phase"], state["chunk"], state["step"]) == (0, 1, first)

    resumed = Recorder()
    monkeypatch.setattr(pretrain, "tensors", resumed)
    target = pretrain.train(PARENTS, MODEL, tmp_path / "killed", 1)
    assert killed.seen[:first] + resumed.seen == whole.seen
    networks = [
        torch.load(tmp_path / name / "state.pt", weights_only=True)["network"]
        for name in ("undisturbed", "killed")
    ]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])
    weights = [folder / "model.safetensors" for folder in (undisturbed, target)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def _batches_of_chunk(number: int) -> int:
    chat = Chat.load(pretrain.BUNDLED / "tokenizer")
    made = pretrain.batches(PARENTS, MODEL, 0, chat, number)
    return next(count for count, (_, last, _) in enumerate(made, 1) if last)
