"""A conversation with a model: the answer to a history, piece by piece.

Behind `heirloom chat`; it knows the toggle and the engine, not terminals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from resources.engines.protocol import Request, Sampling

if TYPE_CHECKING:
    from resources.engines.transformers import TransformersEngine


def conversation(history: Sequence[Mapping[str, str]], closing: str) -> tuple[tuple[str, str], ...]:
    """The messages of the next request: the turns, without thinking up to its tag `closing`.

    Raises ValueError unless the last turn is the user's.
    """
    if not history or history[-1]["role"] != "user":
        raise ValueError("the last turn of the history must be the user's")
    messages = []
    for message in history:
        content = message["content"]
        if message["role"] == "assistant":
            content = content.rpartition(closing)[2]
        messages.append((message["role"], content.strip()))
    return tuple(messages)


def stream_answer(
    engine: TransformersEngine,
    history: Sequence[Mapping[str, str]],
    reasoning: str,
    sampling: Sampling,
) -> Iterator[str]:
    """Yield the answer to `history` in pieces of text whose concatenation is the whole answer."""
    ids: list[int] = []
    shown = ""
    asked = Request(conversation(history, engine.chat.toggle.tags[1]), thinking=reasoning)
    for token in engine.stream(asked, sampling):
        ids.append(token)
        text = engine.chat.decode(ids)
        # A character of several tokens shows as the replacement character until it is whole.
        if not text.endswith("\ufffd") and len(text) > len(shown):
            yield text[len(shown) :]
            shown = text
    rest = engine.chat.decode(ids)[len(shown) :]
    if rest:
        yield rest
