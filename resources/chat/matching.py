"""Whether token ids were made for a model: examples and models carry the digest of their chat.

Ids of another tokenizer, or of another template, would train a model on noise without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from resources.chat import folder
from resources.chat.errors import ChatError


def fits(made_for: str | None, model: Path, examples: str, name: str) -> None:
    """Raise ChatError where examples (named `examples`) made for one chat meet a model of another.

    `made_for` is the digest that was recorded with them, None where none was, as with tables that
    no chat made; `name` is the model's.
    """
    if made_for is None:
        return
    own = folder.digest(model)
    if made_for != own:
        raise ChatError(
            f"{examples} was encoded for the chat {made_for}, and {name} has the chat {own}: their "
            "tokenizer, template or toggle differ; encode it for this model, or train a model that "
            "it was made for"
        )


class Model(Protocol):
    """An artifact that holds a checkpoint folder."""

    @property
    def label(self) -> str:
        """Its key."""

    def path(self, name: str = "") -> Path:
        """The verified local folder."""


def comparable(teacher: Model, student: Model) -> None:
    """Raise ChatError where a student cannot learn from a teacher's distributions over tokens."""
    one, other = folder.digest(teacher.path()), folder.digest(student.path())
    if one != other:
        raise ChatError(
            f"teacher {teacher.label} has the chat {one} and student {student.label} the chat "
            f"{other}: distillation compares logits token by token, so both need one tokenizer and "
            "template. What would work: SFT on what the teacher answers (text has no tokens), or "
            "a teacher with the student's tokenizer"
        )
