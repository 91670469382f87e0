"""A loopback server that speaks as OpenAI's does and misbehaves as a test tells it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from tests.resources.answering import Answering
from tests.resources.loopback import running

Body = dict[str, Any]


@dataclass
class Hostile:
    """What was asked (the last message of each request, in order of arrival), and what to do.

    `behave(server, handler, body, n)` answers the n-th request in another way where it returns
    true; `models` is what is listed (None: there is no list).
    """

    models: list[Body] | None
    behave: Callable[[Hostile, Answering, Body, int], bool] | None = None
    delay: float = 0.0
    asked: list[str] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def said(text: str, **more: Any) -> Body:
    """A whole answer of a chat."""
    message = {"role": "assistant", "content": text} | more.pop("message", {})
    return {
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | more],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }


def send(handler: Answering, status: int, value: Any, **headers: str) -> None:
    handler.answer(status, json.dumps(value).encode(), **headers)


@contextmanager
def serving(hostile: Hostile, port: int = 0) -> Iterator[Hostile]:
    """The server, for the time of the block."""

    class Handler(Answering):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hostile.keys.append(self.headers.get("Authorization"))
            if hostile.models is None:
                send(self, 404, {"detail": "Not Found"})
            else:
                send(self, 200, {"object": "list", "data": hostile.models})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with hostile.lock:
                n = len(hostile.asked)
                text = str(
                    body["messages"][-1]["content"] if "messages" in body else body["prompt"]
                )
                hostile.asked.append(text)
                hostile.bodies.append(body)
                hostile.keys.append(self.headers.get("Authorization"))
                hostile.under_way += 1
                hostile.most = max(hostile.most, hostile.under_way)
            try:
                if hostile.behave is None or not hostile.behave(hostile, self, body, n):
                    time.sleep(hostile.delay)
                    send(self, 200, said(f"answer to {text}"))
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with hostile.lock:
                    hostile.under_way -= 1

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128
        allow_reuse_address = True

    with running(Server(("127.0.0.1", port), Handler)) as server:
        hostile.url = f"http://127.0.0.1:{server.server_port}"
        yield hostile


def always(answer: Callable[[Answering], None]) -> Hostile:
    """One that answers every request alike."""

    def behave(_: Hostile, handler: Answering, __: Body, ___: int) -> bool:
        answer(handler)
        return True

    return plain(behave=behave)


def plain(**options: Any) -> Hostile:
    """One that serves the model `m`."""
    return Hostile([{"id": "m", "object": "model"}], **options)
