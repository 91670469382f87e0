"""What a second server is worth: the same requests to one and to two that take 200 ms each.

    python -m benchmarks.pool_latency [--requests 200] [--at-once 4]

The servers are of this process, on loopback: they repeat what they are asked after 200 ms, and take
`--at-once` requests together, as a server has room for a batch. Printed: seconds of both, and their
ratio. The machine's own work per request is in it.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from resources.engines.protocol import Request, Sampling
from resources.engines.server.chat import ServedChat
from resources.engines.server.endpoint import Address
from resources.engines.server.engine import ServerEngine

LATENCY = 0.2


@contextmanager
def serving(at_once: int) -> Iterator[str]:
    """A server's address, for the time of the block."""
    room = threading.Semaphore(at_once)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

        def answer(self, value: Any) -> None:
            """Send JSON."""
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            """The list of models."""
            self.answer({"data": [{"id": "m"}]})

        def do_POST(self) -> None:
            """Repeat the last message."""
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with room:
                time.sleep(LATENCY)
            message = {"role": "assistant", "content": asked["messages"][-1]["content"]}
            self.answer({"choices": [{"message": message, "finish_reason": "stop"}]})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def seconds(servers: int, requests: int, at_once: int) -> float:
    """How long the requests take with so many servers."""
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(at_once)) for _ in range(servers)]
        addresses = [Address(url, concurrency=at_once) for url in urls]
        engine = ServerEngine(lambda _: addresses, "m", ServedChat(), "m")
        asked = [Request((("user", f"question {n}"),)) for n in range(requests)]
        began = time.perf_counter()
        assert len(engine.generate(asked, Sampling(0.0))) == requests
        return time.perf_counter() - began


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=4)
    chosen = parser.parse_args()
    one, two = (seconds(n, chosen.requests, chosen.at_once) for n in (1, 2))
    print(f"one server {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast")


if __name__ == "__main__":
    main()
