"""Pieces of a corpus, text or conversation, as token ids: many at once, each accounted for.

The one way in which text that models read becomes tokens. It knows no tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.chat.chat import Chat
from resources.chat.encoder import Encoded, Sample
from resources.chat.errors import ChatError


@dataclass(frozen=True)
class Piece:
    """A conversation (`messages`, asked with `thinking`), or a text behind its context."""

    messages: Sequence[Mapping[str, Any]] | None = None
    text: str = ""
    context: str = ""
    thinking: str | None = None

    def samples(self, chat: Chat) -> list[Sample]:
        """What a model of this chat reads of it. Raises ChatError where it cannot be told."""
        if self.messages is None:
            return [chat.document(self.text, self.context)]
        return chat.samples(self.messages, self.thinking)


def encode(chat: Chat, pieces: Sequence[Piece]) -> list[list[Encoded] | ChatError]:
    """For each piece its examples (ids and loss mask), or why there are none."""
    samples: list[Sample] = []
    counts: list[int | ChatError] = []
    for piece in pieces:
        try:
            made = piece.samples(chat)
        except ChatError as error:
            counts.append(error)
        else:
            samples += made
            counts.append(len(made))
    encoded = iter(chat.encode(samples))
    return [
        count if isinstance(count, ChatError) else [next(encoded) for _ in range(count)]
        for count in counts
    ]
