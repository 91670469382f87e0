"""What is asked of a server, and what is taken from its answers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from resources.engines.cache import CachedEngine
from resources.engines.protocol import Request, Sampling
from resources.engines.server.chat import ServedChat
from resources.engines.server.endpoint import Address
from resources.engines.server.engine import ServerEngine
from resources.engines.server.errors import EngineError
from resources.engines.server.wire import Price
from tests.resources.answering import Answering
from tests.resources.engines.server.asking import (
    SAMPLING,
    engine,
    expected,
    requests,
    texts,
)
from tests.resources.engines.server.hostile import Body, Hostile, always, plain, said, send, serving


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
