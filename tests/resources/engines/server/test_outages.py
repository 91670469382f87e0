"""Servers that are busy, die or share the work, and clients that do: nothing is paid twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from resources.checkout import CHECKOUT
from resources.engines.cache import CachedEngine
from resources.engines.server.errors import EngineError
from resources.engines.store.store import RequestStore
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


def test_a_busy_server_is_asked_less_and_later() -> None:
    def busy(server: Hostile, handler: Answering, _: Body, n: int) -> bool:
        if server.under_way > 6:
            send(handler, 429, {"error": {"message": "slow down"}}, Retry_After="0.05")
            return True
        return False

    with serving(plain(behave=busy, delay=0.1)) as server:
        assert texts(engine(server).generate(requests(80), SAMPLING)) == expected(80)
    refused = len(server.asked) - 80
    assert 0 < refused < 80 and server.most <= 24


def test_as_many_as_a_server_bears_are_under_way_and_no_more_than_are_allowed() -> None:
    with serving(plain(delay=0.05)) as server:
        engine(server, concurrency=12).generate(requests(100), SAMPLING)
    assert 4 < server.most <= 12


def test_a_server_that_dies_and_comes_back_is_waited_for(tmp_path: Path) -> None:
    port, answers = unused_port(), []

    def dies(server: Hostile, handler: Answering, _: Body, n: int) -> bool:
        if n >= 10:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        return n >= 10

    def ask() -> None:
        answers.extend(
            CachedEngine(engine(f"http://127.0.0.1:{port}"), tmp_path).generate(
                requests(30), SAMPLING
            )
        )

    client = threading.Thread(target=ask)
    with serving(plain(behave=dies), port) as first:
        client.start()
        while len(first.asked) < 12:
            time.sleep(0.01)
    time.sleep(0.3)
    with serving(plain(), port) as second:
        client.join(30)
    assert texts(answers) == expected(30)
    answered = set(first.asked[:10])
    assert not answered & set(second.asked), "an answer that reached us is never asked for again"


def test_a_server_that_stays_away_stops_the_run_with_what_was_answered_kept(
    tmp_path: Path,
) -> None:
    def dies(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
        if n >= 10:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        return n >= 10

    with (
        serving(plain(behave=dies)) as server,
        pytest.raises(EngineError, match=r"no answer for .*What was answered is kept"),
    ):
        CachedEngine(engine(server, patience=0.3), tmp_path).generate(requests(40), SAMPLING)
    assert len(RequestStore(tmp_path)) == 10


def test_several_servers_share_the_work_and_one_dies(tmp_path: Path) -> None:
    def dies(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
        if n >= 20:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        return n >= 20

    with serving(plain(delay=0.02)) as one, serving(plain(behave=dies, delay=0.02)) as other:
        made = CachedEngine(engine(one, other), tmp_path).generate(requests(150), SAMPLING)
    assert texts(made) == expected(150)
    assert len(one.asked) >= 100 and len(other.asked) >= 20


def test_of_several_servers_one_answers_nonsense() -> None:
    with (
        serving(plain(delay=0.01)) as one,
        serving(always(lambda handler: handler.answer(200, b"?"))) as other,
    ):
        made = engine(one, other).generate(requests(100), SAMPLING)
    assert texts(made) == expected(100)
    assert len(other.asked) < 60


CLIENT = """
import sys
from resources.engines.cache import CachedEngine
from tests.resources.engines.server.asking import SAMPLING, engine, requests
CachedEngine(engine(sys.argv[1]), sys.argv[2]).generate(requests(200), SAMPLING)
"""


def test_a_killed_client_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(plain(delay=0.02)) as server:
        command = [sys.executable, "-c", CLIENT, server.url, str(tmp_path)]
        client = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
        while len(server.asked) < 90:
            assert client.poll() is None
            time.sleep(0.01)
        client.send_signal(signal.SIGKILL)
        client.wait()
        time.sleep(0.1)
        before, stored = list(server.asked), len(RequestStore(tmp_path))
        cached = CachedEngine(engine(server), tmp_path)
        found = cached.store.get(cached.known.keys(requests(200), SAMPLING))
        kept = set(texts(list(found.values())))
        assert texts(cached.generate(requests(200), SAMPLING)) == expected(200)
    after = server.asked[len(before) :]
    assert len(kept) == stored > 0
    assert not kept & {f"answer to {asked}" for asked in after}
    assert len(after) == 200 - stored, "and nothing but the rest was asked"
    assert len(before) - stored <= 64 + 1, "what was under way at the kill"
    assert (cached.usage.asked, cached.usage.cached) == (200 - stored, stored)


def test_the_pace_of_asking_stays_within_its_bounds() -> None:
    from resources.engines.server.pacing import Limiter

    limiter = Limiter(32)
    for _ in range(100):
        limiter.answered(1.0, 9, limiter.allowed)
    assert limiter.allowed == 32
    limiter.busy(sent=1.0, now=2.0)
    limiter.busy(sent=1.5, now=2.1)  # was under way when it was halved
    assert limiter.allowed == 16
    for _ in range(16):
        limiter.answered(1.0, 9, limiter.allowed)
    assert limiter.allowed == 16 and limiter.limit > 16.9, "then one more a round"
    for _ in range(200):
        limiter.answered(20.0, 9, limiter.allowed)
    assert limiter.allowed < 8, "each answer takes far longer than at best"
    for at in range(10):
        limiter.busy(sent=10.0 + at, now=10.5 + at)
    assert limiter.allowed == 1
