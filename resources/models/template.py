"""A conversation as token ids and loss mask, by a tokenizer's own chat template.

The importable face of `resources.chat` for whoever has a tokenizer and one conversation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from resources.chat.chat import Chat
from resources.chat.toggle import Toggle

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def encode(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Mapping[str, Any]],
    thinking: str | None = None,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    toggle: Mapping[str, Any] | None = None,
) -> tuple[list[int], list[int]]:
    """Token ids of a conversation as the tokenizer's own template renders it, and its loss mask.

    The mask is 1 on what the model must write in every assistant turn, turn-end token included, and
    0 on all that stands before it, the generation prompt included. `toggle` is a recipe's
    `thinking` section (None: Nemotron's texts). Special tokens' text in contents stays text.

    Raises ValueError where the template refuses or drops a turn, and where it cannot be told what
    the model must write. Training takes `Chat.samples`, which cuts a conversation whose earlier
    turns read otherwise once others follow.
    """
    chat = _chat(tokenizer, json.dumps(Toggle.of(toggle).as_json()), str(tokenizer.chat_template))
    ids, mask = chat.encode([chat.conversation(messages, thinking, tools).whole()])[0]
    return ids, [int(inside) for inside in mask]


@lru_cache(maxsize=8)
def _chat(tokenizer: PreTrainedTokenizerFast, toggle: str, template: str) -> Chat:
    return Chat.of(tokenizer, json.loads(toggle))
