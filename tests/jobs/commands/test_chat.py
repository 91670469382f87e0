"""`heirloom chat`: what a model is shown of a conversation, turn by turn."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs import cli
from resources.chat.chat import Chat
from resources.engines.protocol import Request, Sampling
from resources.engines.transformers import TransformersEngine
from resources.models.loading import load
from resources.store.home import Home

ANSWER = "<think>\n1 + 2\n</think>\n\nIt is 3."


def test_the_model_never_sees_its_earlier_thinking(
    home: Home,
    tiny_llama: Path,
    tiny_chat: Chat,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = TransformersEngine(load(tiny_llama), tiny_chat, "v1")
    asked: list[Request] = []

    def stream(request: Request, sampling: Sampling) -> Iterator[int]:
        asked.append(request)
        return iter(tiny_chat.texts([ANSWER])[0])

    def opened(*_: Any) -> Any:
        manifest = {"files": {"config.json": {}}}
        return SimpleNamespace(
            key="super/sft", data_version="f" * 64, manifest=manifest, path=lambda: tiny_llama
        )

    monkeypatch.setattr(engine, "stream", stream)
    monkeypatch.setattr("jobs.keys.open_artifact", opened)
    monkeypatch.setattr("resources.engines.opening.open_engine", lambda *_: engine)
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 1 + 2?\nAnd 2 + 2?\n\nHello\n"))
    assert cli.main(["chat", "super", "--recipe", "tiny"]) == 0
    assert capsys.readouterr().out == f"{ANSWER}\n" * 3
    assert {request.thinking for request in asked} == {"on"}
    assert [request.conversation() for request in asked] == [
        [{"role": role, "content": text} for role, text in turns]
        for turns in (
            [("user", "What is 1 + 2?")],
            [("user", "What is 1 + 2?"), ("assistant", "It is 3."), ("user", "And 2 + 2?")],
            [("user", "Hello")],
        )
    ]
