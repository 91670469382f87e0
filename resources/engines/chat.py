"""A conversation with a model: the answer to a history, piece by piece.

Behind `heirloom chat`; it knows the toggle and the engine, not terminals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resources.engines.protocol import Request, Sampling
from resources.models.template import SYSTEM, Message

if TYPE_CHECKING:
    from resources.engines.transformers import TransformersEngine

_END_OF_THINKING = "</think>"


def conversation(history: Sequence[Message], reasoning: str) -> tuple[tuple[str, str], ...]:
    """The messages of the next request: the toggle, then the turns without earlier thinking.

    Raises ValueError unless `reasoning` is "on" or "off" and the last turn is the user's.
    """
    if reasoning not in SYSTEM:
        raise ValueError(f"thinking must be 'on' or 'off', not {reasoning!r}")
    if not history or history[-1]["role"] != "user":
        raise ValueError("the last turn of the history must be the user's")
    messages = [("system", SYSTEM[reasoning])]
    for message in history:
        content = message["content"]
        if message["role"] == "assistant":
            content = content.rpartition(_END_OF_THINKING)[2]
        messages.append((message["role"], content.strip()))
    return tuple(messages)


def stream_answer(
    engine: TransformersEngine, history: Sequence[Message], reasoning: str, sampling: Sampling
) -> Iterator[str]:
    """Yield the answer to `history` in pieces of text whose concatenation is the whole answer."""
    ids: list[int] = []
    shown = ""
    for token in engine.stream(Request(conversation(history, reasoning)), sampling):
        ids.append(token)
        text = _decode(engine, ids)
        # A character of several tokens shows as the replacement character until it is whole.
        if not text.endswith("\ufffd") and len(text) > len(shown):
            yield text[len(shown) :]
            shown = text
    rest = _decode(engine, ids)[len(shown) :]
    if rest:
        yield rest


def _decode(engine: TransformersEngine, ids: list[int]) -> str:
    return str(
        engine.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    )
