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
from resources.engines.protocol import Completion, Request, Sampling
from resources.engines.transformers import TransformersEngine
from resources.models.loading import load
from resources.store.home import Home

ANSWER = "<think>\n1 + 2\n</think>\n\nIt is 3."


def answering(
    folder: Path, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Request], TransformersEngine]:
    """What a model is asked that says the same to everything; its engine."""
    engine = TransformersEngine(load(folder), chat, "v1")
    asked: list[Request] = []

    def stream(request: Request, sampling: Sampling) -> Iterator[int]:
        asked.append(request)
        return iter(chat.texts([ANSWER])[0])

    def opened(*_: Any) -> Any:
        manifest = {"files": {"config.json": {}}}
        return SimpleNamespace(
            key="super/sft", data_version="f" * 64, manifest=manifest, path=lambda: folder
        )

    monkeypatch.setattr(engine, "stream", stream)
    monkeypatch.setattr("jobs.keys.open_artifact", opened)
    monkeypatch.setattr("resources.engines.opening.open_engine", lambda *_: engine)
    return asked, engine


def test_the_model_never_sees_its_earlier_thinking(
    home: Home,
    tiny_llama: Path,
    tiny_chat: Chat,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked, _ = answering(tiny_llama, tiny_chat, monkeypatch)
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


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_is_edited_by_feedback_on_it(
    home: Home,
    tiny_llama: Path,
    tiny_chat: Chat,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    whole: bool,
) -> None:
    asked, engine = answering(tiny_llama, tiny_chat, monkeypatch)
    told: list[str] = []

    def generate(requests: list[Request], sampling: Sampling) -> list[Completion]:
        (request,) = requests
        told.append(request.messages[-1][1])
        text = "<think>hm</think>Show the sum." if len(told) % 2 else "1 + 2 = 3."
        end = "length" if len(told) % 2 == 0 and not whole else "stop"
        return [Completion(text, [], end, 1, 1, None, 0.0)]

    monkeypatch.setattr(engine, "generate", generate)
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 1 + 2?\nAnd 2 + 2?\n"))
    assert cli.main(["chat", "super", "--recipe", "tiny", "--feedback-edit"]) == 0
    ends = "" if whole else "[no use: cut off; the answer stays]\n"
    turn = f"{ANSWER}\n\n[feedback]\nShow the sum.\n\n[edit]\n1 + 2 = 3.\n{ends}"
    assert capsys.readouterr().out == turn * 2
    assert "\nIt is 3.\n" in told[0] and "hm" not in told[1] and "1 + 2\n</think>" not in told[0]
    assert "\nShow the sum.\n" in told[1]
    said = "1 + 2 = 3." if whole else "It is 3."
    assert asked[1].conversation()[1] == {"role": "assistant", "content": said}
    assert f"user: What is 1 + 2?\nassistant: {said}\nuser: And 2 + 2?" in told[2]
