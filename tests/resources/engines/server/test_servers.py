"""Servers that misbehave in every way: one clear line or an accounted row, nothing paid twice."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resources.engines.cache import CachedEngine
from resources.engines.protocol import Completion, Request, Sampling
from resources.engines.server import calls
from resources.engines.server.chat import ServedChat
from resources.engines.server.endpoint import Address
from resources.engines.server.engine import ServerEngine
from resources.engines.server.errors import EngineError
from resources.engines.server.wire import Price
from resources.engines.store.store import RequestStore
from tests.resources.answering import Answering
from tests.resources.engines.server.hostile import Body, Hostile, always, plain, said, send, serving

SAMPLING = Sampling(0.6, 0.95, 64, seed=5)


def requests(count: int) -> list[Request]:
    return [Request((("user", f"question {n}"),)) for n in range(count)]


def engine(*servers: Hostile | str, patience: float = 30.0, **address: Any) -> ServerEngine:
    urls = [each if isinstance(each, str) else each.url for each in servers]
    addresses = [Address(url, **address) for url in urls]
    return ServerEngine(lambda _: addresses, "m", ServedChat(), "m@1", patience=patience)


def texts(made: list[Completion]) -> list[str]:
    return [each.text for each in made]


def expected(count: int) -> list[str]:
    return [f"answer to question {n}" for n in range(count)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of tests are short."""
    monkeypatch.setattr("resources.engines.server.pacing.FIRST_WAIT", 0.02)
    monkeypatch.setattr("resources.engines.server.pacing.LONGEST_WAIT", 0.1)


def test_answers_come_with_what_they_took(tmp_path: Path) -> None:
    with serving(plain()) as server:
        asked = engine(server, price=Price(2.0, 10.0))
        cached = CachedEngine(asked, tmp_path)
        made = cached.generate(requests(40), SAMPLING)
        assert texts(made) == expected(40)
        assert (made[0].prompt_tokens, made[0].completion_tokens, made[0].served) == (7, 3, "m")
        assert cached.usage.cost == pytest.approx(40 * (7 * 2.0 + 3 * 10.0) / 1e6)
        again = CachedEngine(engine(server), tmp_path)
        assert texts(again.generate(requests(41), SAMPLING)) == expected(41)
        assert again.usage.asked == 1 and len(server.asked) == 41
    body = server.bodies[0]
    assert {n: body[n] for n in ("model", "temperature", "top_p", "max_tokens")} == {
        "model": "m",
        "temperature": 0.6,
        "top_p": 0.95,
        "max_tokens": 64,
    }
    assert len({each["seed"] for each in server.bodies}) == 41
    assert asked.said()["servers"][f"{server.url}/v1"]["model"] == "m"


def test_nobody_is_looked_for_where_all_is_stored(tmp_path: Path) -> None:
    with serving(plain()) as server:
        CachedEngine(engine(server), tmp_path).generate(requests(5), SAMPLING)
    gone = CachedEngine(engine(server), tmp_path)
    assert texts(gone.generate(requests(5), SAMPLING)) == expected(5)


def test_what_is_asked_for_reaches_the_server() -> None:
    with serving(plain()) as server:
        schema = '{"type": "object"}'
        sampling = Sampling(0.0, 1.0, 8, stop=("\n\n",), schema=schema)
        chat = ServedChat({"on": {"enable_thinking": True}, "off": {"system": "/no_think"}})
        asked = ServerEngine(lambda _: [Address(server.url)], "m", chat, "m")
        told = (("system", "Be short."), ("user", "Why?"))
        asked.generate([Request(told, thinking=mode) for mode in ("on", "off")], sampling)
        asked.generate([Request((), text="Q: 2+2?\nA:")], sampling)
    (plain_text,) = [each for each in server.bodies if "prompt" in each]
    (on,) = [each for each in server.bodies if "chat_template_kwargs" in each]
    (off,) = [each for each in server.bodies if each not in (on, plain_text)]
    assert on["chat_template_kwargs"] == {"enable_thinking": True}
    assert on["messages"][0]["content"] == "Be short."
    assert off["messages"][0] == {"role": "system", "content": "/no_think\n\nBe short."}
    assert on["stop"] == ["\n\n"] and "seed" not in on
    assert on["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert plain_text["prompt"] == "Q: 2+2?\nA:"


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


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def test_a_server_without_a_list_of_models_is_asked_all_the_same() -> None:
    with serving(Hostile(None)) as server:
        assert texts(engine(server).generate(requests(3), SAMPLING)) == expected(3)


def test_the_key_reaches_the_server_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        serving(plain()) as server,
        pytest.raises(EngineError, match="environment variable MY_KEY holds no key; set it"),
    ):
        engine(server, api_key_env="MY_KEY").generate(requests(1), SAMPLING)
    monkeypatch.setenv("MY_KEY", "sk-secret-123")

    def refuses(_: Hostile, handler: Answering, __: Body, n: int) -> bool:
        if n:
            send(handler, 401, {"error": {"message": "Incorrect API key: sk-secret-123"}})
        return n > 0

    with serving(plain(behave=refuses)) as server:
        asked = engine(server, api_key_env="MY_KEY")
        CachedEngine(asked, tmp_path).generate(requests(1), SAMPLING)
        with pytest.raises(EngineError) as caught:
            CachedEngine(asked, tmp_path).generate(requests(3), SAMPLING)
    assert set(server.keys) == {"Bearer sk-secret-123"}
    assert "the key in MY_KEY was refused" in str(caught.value)
    everything = str(caught.value) + repr(caught.value) + caplog.text + str(asked.said())
    everything += "".join(p.read_bytes().decode(errors="ignore") for p in tmp_path.rglob("*.jsonl"))
    assert "sk-secret" not in everything


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


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (said("4", message={"reasoning_content": "2+2=4\n"}), "<think>\n2+2=4\n</think>\n\n4"),
        (said("4", message={"reasoning": "2+2=4"}), "<think>\n2+2=4\n</think>\n\n4"),
        (said("2+2=4\n</think>\n\n4"), "<think>\n2+2=4\n</think>\n\n4"),
        (said("<think>\n2+2=4\n</think>\n\n4"), "<think>\n2+2=4\n</think>\n\n4"),
        (said("", message={"content": None, "reasoning_content": "2+"}), "<think>\n2+"),
        (said("half \ud800 pair"), "half � pair"),
        (said("", message={"content": [{"type": "text", "text": "4"}]}), "4"),
    ],
)
def test_thinking_comes_in_one_form(answer: Body, text: str, tmp_path: Path) -> None:
    with serving(always(lambda handler: send(handler, 200, answer))) as server:
        (made,) = CachedEngine(engine(server), tmp_path).generate(requests(1), SAMPLING)
    assert made.text == text


def test_log_probabilities_are_taken_and_missing_ones_stop_the_run(tmp_path: Path) -> None:
    scores = {"content": [{"token": "4", "logprob": -0.5}, {"token": "", "logprob": -0.25}]}
    whole = said("4", logprobs=scores)
    with serving(always(lambda handler: send(handler, 200, whole))) as server:
        cached = CachedEngine(engine(server), tmp_path)
        assert cached.generate(requests(1), SAMPLING, logprobs=True)[0].logprobs == [-0.5, -0.25]
        assert server.bodies[0]["logprobs"] is True
    with serving(plain()) as server, pytest.raises(EngineError, match="no log-probabilities"):
        engine(server).generate(requests(1), SAMPLING, logprobs=True)


CLIENT = """
import sys
from tests.resources.engines.server.test_servers import *
CachedEngine(engine(sys.argv[1]), sys.argv[2]).generate(requests(200), SAMPLING)
"""


def test_a_killed_client_goes_on_where_it_was(tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    with serving(plain(delay=0.02)) as server:
        command = [sys.executable, "-c", CLIENT, server.url, str(tmp_path)]
        client = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root)})
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
