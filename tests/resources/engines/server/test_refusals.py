"""Servers that answer nonsense, too late or not at all: one clear line or an accounted row."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.engines.cache import CachedEngine
from resources.engines.server import calls
from resources.engines.server.errors import EngineError
from tests.resources.answering import Answering
from tests.resources.engines.server.asking import (
    SAMPLING,
    engine,
    expected,
    requests,
    texts,
    unused_port,
)
from tests.resources.engines.server.hostile import Body, Hostile, always, plain, send, serving


def garbage(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
    if n % 3 == 0:
        handler.answer(200, b"<html>it works</html>")
    return n % 3 == 0


def truncated(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
    if n % 3 == 0:
        handler.answer(200, b'{"choices": [{"message": {"content": "half an ans')
    return n % 3 == 0


def empty(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
    if n % 3 == 0:
        send(handler, 200, {"choices": []} if n % 2 else {"choices": [{"message": {}}]})
    return n % 3 == 0


def failing(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
    if n % 3 == 0:
        send(handler, (500, 502, 503)[n % 2], {"error": {"message": "out of memory"}})
    return n % 3 == 0


def dropped(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
    if n % 3 == 0:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
    return n % 3 == 0


def half_sent(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
    if n % 3 == 0:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
    return n % 3 == 0


@pytest.mark.parametrize("behave", [garbage, truncated, empty, failing, dropped, half_sent])
def test_what_is_no_answer_is_asked_again(behave: Callable[..., bool], tmp_path: Path) -> None:
    with serving(plain(behave=behave)) as server:
        asked = engine(server)
        made = CachedEngine(asked, tmp_path).generate(requests(24), SAMPLING)
    assert texts(made) == expected(24)
    assert asked.said()["again"] == len(server.asked) - 24 > 0
    times = Counter(server.asked)
    assert sum(times.values()) == len(server.asked) and len(times) == 24


@pytest.mark.parametrize(
    ("status", "message"),
    [(400, "This model's maximum context length is 64 tokens"), (422, "bad"), (413, "too large")],
)
def test_one_request_that_is_refused_is_an_accounted_row(
    status: int, message: str, tmp_path: Path
) -> None:
    def refuse(_: Hostile, handler: Answering, body: Body, __: int) -> bool:
        if body["messages"][-1]["content"] == "question 3":
            send(handler, status, {"error": {"message": message}})
            return True
        return False

    with serving(plain(behave=refuse)) as server:
        cached = CachedEngine(engine(server), tmp_path)
        made = cached.generate(requests(6), SAMPLING)
        assert [each.answered for each in made] == [n != 3 for n in range(6)]
        assert made[3].served == f"HTTP {status}: {message}" and cached.usage.failed == 1
        CachedEngine(engine(server), tmp_path).generate(requests(6), SAMPLING)
    assert Counter(server.asked) == Counter({f"question {n}": 1 + (n == 3) for n in range(6)})


def test_a_request_that_takes_too_long_is_an_accounted_row() -> None:
    def slow(_: Hostile, __: Answering, body: Body, ___: int) -> bool:
        if body["messages"][-1]["content"] == "question 3":
            time.sleep(2.0)
        return False

    with serving(plain(behave=slow)) as server:
        made = engine(server, timeout=0.5).generate(requests(6), SAMPLING)
    assert [each.answered for each in made] == [n != 3 for n in range(6)]
    assert made[3].served.startswith("no answer within 0.5 s") and len(server.asked) <= 6 + 4


def test_a_server_that_sends_on_is_one_clear_line() -> None:
    def elsewhere(handler: Answering) -> None:
        handler.answer(307, Location="http://other/v1")

    with (
        serving(always(elsewhere)) as server,
        pytest.raises(EngineError, match="HTTP 307 sends on to http://other/v1; give that address"),
    ):
        engine(server).generate(requests(2), SAMPLING)


def test_one_request_that_is_never_answered_is_an_accounted_row() -> None:
    def poison(_: Hostile, handler: Answering, body: Body, __: int) -> bool:
        if body["messages"][-1]["content"] == "question 3":
            send(handler, 500, {"error": "crash"})
            return True
        return False

    with serving(plain(behave=poison)) as server:
        made = engine(server).generate(requests(12), SAMPLING)
    assert [each.answered for each in made] == [n != 3 for n in range(12)]
    assert made[3].served == "HTTP 500: crash (8 times)"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "is no JSON, or was cut off"),
        (400, b'{"error": "no such field: seed"}', "no such field"),
    ],
)
def test_a_server_that_never_answers_right_stops_the_run(
    status: int, body: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "REFUSED_IN_A_ROW", 8)
    with (
        serving(always(lambda handler: handler.answer(status, body))) as server,
        pytest.raises(EngineError) as caught,
    ):
        engine(server).generate(requests(50), SAMPLING)
    told = str(caught.value)
    assert words in told and "\n" not in told
    assert f"{server.url}/v1: 8 requests in a row got no answer that can be used" in told


def test_a_server_that_is_not_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "START_SECONDS", 0.5)
    url = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(EngineError, match=rf"{url}/v1: no answer for \d+ s: nobody answers there"):
        engine(url).generate(requests(3), SAMPLING)


def test_a_server_that_serves_another_model_is_one_clear_line() -> None:
    with (
        serving(Hostile([{"id": "other"}, {"id": "third"}])) as server,
        pytest.raises(EngineError, match="does not serve m; it serves other, third"),
    ):
        engine(server).generate(requests(3), SAMPLING)
    assert server.asked == []
