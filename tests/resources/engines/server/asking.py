"""Questions for hostile servers, and the engine that asks them."""

from __future__ import annotations

import socket
from typing import Any

from resources.engines.protocol import Completion, Request, Sampling
from resources.engines.server.chat import ServedChat
from resources.engines.server.endpoint import Address
from resources.engines.server.engine import ServerEngine
from tests.resources.engines.server.hostile import Hostile

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


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
