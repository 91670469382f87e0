from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.chat.chat import Chat
from resources.engines.cache import CachedEngine
from resources.engines.identity import Names
from resources.engines.opening import open_engine
from resources.engines.protocol import (
    Asked,
    Batch,
    Completion,
    Generating,
    Request,
    Sampling,
    request_key,
    windows,
)
from resources.engines.replay import ReplayEngine
from resources.execution import Execution
from tests.resources.chat import small

CHAT = Chat.of(small.tokenizer())
SAMPLING = Sampling(temperature=1.0, max_new_tokens=8)
REQUESTS = [Request((("user", f"question {i}"),), sample_index=i % 2) for i in range(10)]


class CountingEngine(Generating):
    """Answers with the question and its own count of calls, four requests a batch."""

    def __init__(
        self, model_version: str = "v1", fail_after: int | None = None, window: int = 64
    ) -> None:
        self.model_version, self.chat, self.window = model_version, CHAT, window
        self.fail_after = fail_after
        self.served: list[Request] = []

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        begin = 0
        for window in windows(requests, 4):
            if window and self.fail_after is not None and len(self.served) >= self.fail_after:
                raise KeyboardInterrupt
            batch = []
            for index, request in enumerate(window, begin):
                self.served.append(request)
                scores = [-0.5, -1.25] if logprobs else None
                text = f"{request.messages[0][1]} <think> ü {len(self.served)}"
                batch.append((index, Completion(text, [70000, 3], "stop", 5, 2, scores, 0.125)))
            yield batch
            begin += len(window)


def counts(engine: CachedEngine) -> tuple[int, int]:
    return engine.usage.asked, engine.usage.cached


def test_only_what_is_missing_is_asked(tmp_path: Path) -> None:
    inner = CountingEngine()
    progress: list[tuple[int, int]] = []
    first = CachedEngine(
        inner, tmp_path, progress=lambda done, total: progress.append((done, total))
    )
    answers = first.generate(REQUESTS[:6], SAMPLING)
    assert counts(first) == (6, 0)
    again = CachedEngine(inner, tmp_path)
    assert again.generate(REQUESTS, SAMPLING)[:6] == answers
    assert counts(again) == (4, 6)
    assert inner.served == REQUESTS
    assert progress == [(4, 6), (6, 6)]
    assert again.generate(REQUESTS[::-1], SAMPLING) == again.generate(REQUESTS, SAMPLING)[::-1]
    assert len(inner.served) == 10


def test_equal_requests_in_one_call_are_asked_once(tmp_path: Path) -> None:
    inner = CountingEngine()
    cached = CachedEngine(inner, tmp_path)
    answers = cached.generate([REQUESTS[0], REQUESTS[1], REQUESTS[0]], SAMPLING)
    assert answers[0] == answers[2] != answers[1]
    assert (len(inner.served), *counts(cached)) == (2, 2, 0)


def test_versions_and_sampling_are_apart(tmp_path: Path) -> None:
    CachedEngine(CountingEngine("v1"), tmp_path).generate(REQUESTS, SAMPLING)
    for engine, sampling in ((CountingEngine("v2"), SAMPLING), (CountingEngine(), Sampling(0.5))):
        CachedEngine(engine, tmp_path).generate(REQUESTS, sampling)
        assert len(engine.served) == 10


def test_old_requests_keep_their_keys(tiny_chat: Chat) -> None:
    """Completions paid for when one layout was everybody's stay hits: the identity of then."""
    request = Request((("user", "Why?"),), sample_index=2, thinking="on")
    then = {
        "messages": (("system", "detailed thinking on"), ("user", "Why?")),
        "model_version": "v1",
        "sampling": {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8, "seed": 0},
        "template_version": "883132a374bcd835",
        "sample_index": 2,
    }
    text = json.dumps(then, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    key = hashlib.sha256(text.encode()).digest()
    assert request_key(request, "v1", SAMPLING, tiny_chat) == key
    assert request_key(request, "v1", SAMPLING, CHAT) != key


def test_modes_by_template_argument_are_apart() -> None:
    toggle = {"on": {"enable_thinking": True}, "off": {"enable_thinking": False}}
    chat = Chat.of(small.tokenizer(), toggle)
    asked = [Request((("user", "Why?"),), thinking=mode) for mode in ("on", "off", None)]
    assert len({request_key(one, "v1", SAMPLING, chat) for one in asked}) == 3


def test_logprobs_are_asked_for_when_they_were_not_stored(tmp_path: Path) -> None:
    inner = CountingEngine()
    cached = CachedEngine(inner, tmp_path)
    assert cached.generate(REQUESTS[:2], SAMPLING)[0].logprobs is None
    assert cached.generate(REQUESTS[:2], SAMPLING, logprobs=True)[0].logprobs == [-0.5, -1.25]
    assert cached.generate(REQUESTS[:2], SAMPLING, logprobs=True)[0].logprobs == [-0.5, -1.25]
    assert cached.generate(REQUESTS[:2], SAMPLING)[0].logprobs is None
    assert len(inner.served) == 4


def test_an_interrupted_call_keeps_its_finished_batches(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        CachedEngine(CountingEngine(fail_after=8), tmp_path).generate(REQUESTS, SAMPLING)
    inner = CountingEngine()
    CachedEngine(inner, tmp_path).generate(REQUESTS, SAMPLING)
    assert inner.served == REQUESTS[8:]


class OvertakenEngine(CountingEngine):
    """Answers only after another engine has answered and stored the same requests."""

    def __init__(self, faster: CachedEngine) -> None:
        super().__init__()
        self.faster = faster

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        begin = 0
        for window in windows(requests, 4):
            self.faster.generate(window, sampling)
            self.served += window
            for batch in super().batches(window, sampling, logprobs=logprobs):
                yield [(begin + index, answer) for index, answer in batch]
            begin += len(window)


def test_the_first_of_two_writers_wins(tmp_path: Path) -> None:
    faster = CachedEngine(CountingEngine(), tmp_path)
    overtaken = CachedEngine(OvertakenEngine(faster), tmp_path)
    answers = overtaken.generate(REQUESTS[:4], SAMPLING)
    assert answers == faster.generate(REQUESTS[:4], SAMPLING)
    assert [answer.text[-1] for answer in answers] == ["1", "2", "3", "4"]


def test_replay_answers_from_the_record_only(tmp_path: Path) -> None:
    recorded = CachedEngine(CountingEngine(), tmp_path).generate(REQUESTS[:5], SAMPLING)
    replay = ReplayEngine(tmp_path, Names("v1"), CHAT)
    assert replay.generate(REQUESTS[:5], SAMPLING) == recorded
    with pytest.raises(KeyError, match=r"5 of 10 requests are not recorded .* 'question 5'"):
        replay.generate(REQUESTS, SAMPLING)
    with pytest.raises(FileNotFoundError, match="no recorded requests"):
        ReplayEngine(tmp_path / "absent", Names("v1"), CHAT)


def test_opening_engines(tmp_path: Path, tiny_llama: Path) -> None:
    said: list[tuple[str, float]] = []
    execution = Execution(
        requests=tmp_path, progress=lambda message, fraction: said.append((message, fraction))
    )
    engine = open_engine(tiny_llama, "v1", execution)
    answers = engine.generate(REQUESTS[:2], SAMPLING)
    assert said == [("2/2 completions", 1.0)]
    assert isinstance(engine, CachedEngine) and engine.usage.asked == 2
    replay = open_engine(tiny_llama, "v1", execution.but(engine="replay"))
    assert replay.generate(REQUESTS[:2], SAMPLING) == answers

    with pytest.raises(ValueError, match="engine 'magic' is unknown"):
        open_engine(tiny_llama, "v1", Execution().but(engine="magic"))


def asked_for(count: int, drawn: list[int]) -> Iterator[Request]:
    """Requests that come one by one; `drawn` counts them."""
    for index in range(count):
        drawn.append(index)
        yield Request((("user", f"question {index}"),))


@pytest.mark.parametrize("stored", [0, 100, 37])
def test_requests_are_taken_as_they_are_needed(tmp_path: Path, stored: int) -> None:
    CachedEngine(CountingEngine(), tmp_path).generate(
        [Request((("user", f"question {index}"),)) for index in range(stored)], SAMPLING
    )
    inner = CountingEngine(window=8)
    engine, drawn, seen = CachedEngine(inner, tmp_path), [], []
    for batch in engine.batches(asked_for(100, drawn), SAMPLING):
        seen += [index for index, _ in batch]
        for index, completion in batch:
            assert completion.text.startswith(f"question {index} <think>")
        assert len(drawn) - len(seen) <= 2 * 8, "no more is drawn than a window and what is ready"
    assert sorted(seen) == list(range(100))
    assert counts(engine) == (100 - stored, stored)


def test_equal_requests_of_two_windows_are_asked_once(tmp_path: Path) -> None:
    engine = CachedEngine(CountingEngine(window=4), tmp_path)
    answers = engine.generate([REQUESTS[0]] * 9, SAMPLING)
    assert len({answer.text for answer in answers}) == 1
    assert engine.usage.asked == 1


def test_what_answers_took_is_the_same_after_a_resume(tmp_path: Path) -> None:
    whole = CachedEngine(CountingEngine(), tmp_path / "whole")
    whole.generate(REQUESTS, SAMPLING)
    with pytest.raises(KeyboardInterrupt):
        CachedEngine(CountingEngine(fail_after=4), tmp_path / "cut").generate(REQUESTS, SAMPLING)
    resumed = CachedEngine(CountingEngine(), tmp_path / "cut")
    resumed.generate(REQUESTS, SAMPLING)
    apart = {"asked", "cached"}
    first, second = whole.usage.record(), resumed.usage.record()
    assert {k: v for k, v in first.items() if k not in apart} == {
        k: v for k, v in second.items() if k not in apart
    }
    assert (first["tokens"], first["seconds"], first["requests"]) == (70, 1.25, 10)
    assert counts(resumed) == (6, 4)
