from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from resources.chat.chat import Chat
from resources.engines.cache import CachedEngine, RequestCache
from resources.engines.identity import Names
from resources.engines.opening import open_engine
from resources.engines.protocol import Batch, Completion, Request, Sampling, collect, request_key
from resources.engines.replay import ReplayEngine
from resources.execution import Execution
from tests.resources.chat import small

CHAT = Chat.of(small.tokenizer())
SAMPLING = Sampling(temperature=1.0, max_new_tokens=8)
REQUESTS = [Request((("user", f"question {i}"),), sample_index=i % 2) for i in range(10)]


class CountingEngine:
    """Answers with the question and its own count of calls, four requests a batch."""

    def __init__(self, model_version: str = "v1", fail_after: int | None = None) -> None:
        self.model_version, self.chat = model_version, CHAT
        self.fail_after = fail_after
        self.served: list[Request] = []

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> list[Completion]:
        return collect(self.batches(requests, sampling, logprobs=logprobs), len(requests))

    def batches(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        for begin in range(0, len(requests), 4):
            if self.fail_after is not None and len(self.served) >= self.fail_after:
                raise KeyboardInterrupt
            batch = []
            for index in range(begin, min(begin + 4, len(requests))):
                self.served.append(requests[index])
                scores = [-0.5, -1.25] if logprobs else None
                text = f"{requests[index].messages[0][1]} <think> ü {len(self.served)}"
                batch.append((index, Completion(text, [70000, 3], "stop", 5, 2, scores, 0.1)))
            yield batch


def test_only_what_is_missing_is_asked(tmp_path: Path) -> None:
    inner = CountingEngine()
    progress: list[tuple[int, int]] = []
    first = CachedEngine(
        inner, tmp_path, progress=lambda done, total: progress.append((done, total))
    )
    answers = first.generate(REQUESTS[:6], SAMPLING)
    assert (first.asked, first.cached) == (6, 0)
    again = CachedEngine(inner, tmp_path)
    assert again.generate(REQUESTS, SAMPLING)[:6] == answers
    assert (again.asked, again.cached) == (4, 6)
    assert inner.served == REQUESTS
    assert progress == [(4, 6), (6, 6)]
    assert again.generate(REQUESTS[::-1], SAMPLING) == again.generate(REQUESTS, SAMPLING)[::-1]
    assert len(inner.served) == 10


def test_equal_requests_in_one_call_are_asked_once(tmp_path: Path) -> None:
    inner = CountingEngine()
    cached = CachedEngine(inner, tmp_path)
    answers = cached.generate([REQUESTS[0], REQUESTS[1], REQUESTS[0]], SAMPLING)
    assert answers[0] == answers[2] != answers[1]
    assert (len(inner.served), cached.asked, cached.cached) == (2, 2, 1)


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
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        self.faster.generate(requests, sampling)
        self.served += requests
        yield from super().batches(requests, sampling, logprobs=logprobs)


def test_the_first_of_two_writers_wins(tmp_path: Path) -> None:
    faster = CachedEngine(CountingEngine(), tmp_path)
    overtaken = CachedEngine(OvertakenEngine(faster), tmp_path)
    answers = overtaken.generate(REQUESTS[:4], SAMPLING)
    assert answers == faster.generate(REQUESTS[:4], SAMPLING)
    assert [answer.text[-1] for answer in answers] == ["1", "2", "3", "4"]


WRITER = """
import sys
from resources.engines.cache import RequestCache
from resources.engines.protocol import Completion
cache = RequestCache(sys.argv[1])
name, i = sys.argv[2], 0
print("ready", flush=True)
while i < 50 or name == "endless":
    rows = {
        f"{name}{i}-{j}".encode(): Completion("t", [i, j], "stop", 1, 2, None, 0.0)
        for j in range(20)
    }
    cache.put(rows, "v")
    i += 1
"""


def test_processes_share_the_file_and_one_is_killed(tmp_path: Path) -> None:
    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WRITER, str(tmp_path), name]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)

    endless = start("endless")
    writers = [start("a"), start("b")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert endless.stdout is not None and endless.stdout.readline() == b"ready\n"
    cache = RequestCache(tmp_path)
    while not cache.get([b"endless0-0"]):
        assert endless.poll() is None
    endless.send_signal(signal.SIGKILL)
    endless.wait()
    endless.stdout.close()
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    keys = [f"{name}{i}-{j}".encode() for name in "ab" for i in range(50) for j in range(20)]
    found = cache.get(keys)
    assert len(found) == 2000 and found[b"b7-3"].token_ids == [7, 3]
    assert (len(cache) - 2000) % 20 == 0, "a batch is stored whole or not at all"


def test_an_unusable_cache_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "requests.sqlite").write_text("this is no database, and it is long enough" * 30)
    with pytest.raises(OSError, match="make the folder writable, or move a damaged file away"):
        RequestCache(tmp_path)


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
    assert isinstance(engine, CachedEngine) and engine.asked == 2
    replay = open_engine(tiny_llama, "v1", execution.but(engine="replay"))
    assert replay.generate(REQUESTS[:2], SAMPLING) == answers

    with pytest.raises(ValueError, match="engine 'magic' is unknown"):
        open_engine(tiny_llama, "v1", Execution().but(engine="magic"))
