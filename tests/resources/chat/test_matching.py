"""Ids and logits meet only models of their own chat; else one line that says what would work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.chat import folder
from resources.chat.errors import ChatError
from resources.chat.matching import comparable, fits
from tests.resources.chat import small


@dataclass(frozen=True)
class Model:
    label: str
    folder: Path

    def path(self, name: str = "") -> Path:
        return self.folder / name


def test_distillation_across_chats_is_refused_with_what_would_work(tmp_path: Path) -> None:
    models = [
        Model("a/parent", small.written(tmp_path / "a")),
        Model("a/assembled", small.written(tmp_path / "b")),
        Model("c/parent", small.written(tmp_path / "c", small.MARKED)),
    ]
    comparable(models[0], models[1])
    with pytest.raises(ChatError, match=r"^[^\n]*$") as caught:
        comparable(models[2], models[1])
    for piece in ("teacher c/parent", "student a/assembled", "What would work: SFT"):
        assert piece in str(caught.value)


def test_examples_of_another_chat_are_refused(tmp_path: Path) -> None:
    own, other = small.written(tmp_path / "a"), small.written(tmp_path / "b", small.MARKED)
    fits(folder.digest(own), own, "problems/corpus_tokens", "a/parent")
    fits(None, own, "a table without ids", "a/parent")
    with pytest.raises(ChatError, match="encode it for this model, or train a model that"):
        fits(folder.digest(other), own, "problems/corpus_tokens", "a/parent")
