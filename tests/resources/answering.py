"""What the loopback servers of the tests share: silent, with whole bodies or the header alone."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any


class Answering(BaseHTTPRequestHandler):
    """`do_GET` is the test's own; a HEAD request gets its header."""

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a status, headers (`_` for `-`) and a body."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer a request for `self.path`."""
        raise NotImplementedError

    def do_HEAD(self) -> None:
        """The same without a body."""
        self.do_GET()
