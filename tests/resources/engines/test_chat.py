from __future__ import annotations

from pathlib import Path

import pytest

from resources.chat.chat import Chat
from resources.engines.chat import conversation, stream_answer
from resources.engines.protocol import Request, Sampling
from resources.engines.transformers import TransformersEngine
from resources.models.loading import load

HISTORY = [
    {"role": "user", "content": "What is 1 + 2?"},
    {"role": "assistant", "content": "<think>\n3\n</think>\n\nIt is 3."},
    {"role": "user", "content": "And 2 + 2?"},
]


def test_earlier_thinking_is_left_out() -> None:
    assert conversation(HISTORY, "</think>") == (
        ("user", "What is 1 + 2?"),
        ("assistant", "It is 3."),
        ("user", "And 2 + 2?"),
    )
    with pytest.raises(ValueError, match="must be the user's"):
        conversation(HISTORY[:2], "</think>")


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_pieces_make_the_answer(tiny_llama: Path, tiny_chat: Chat, temperature: float) -> None:
    engine = TransformersEngine(load(tiny_llama), tiny_chat, "v1")
    sampling = Sampling(temperature=temperature, max_new_tokens=40)
    pieces = list(stream_answer(engine, HISTORY, "off", sampling))
    whole = engine.generate([Request(conversation(HISTORY, "</think>"), thinking="off")], sampling)[
        0
    ]
    assert "".join(pieces) == whole.text
    assert len(pieces) > 3
