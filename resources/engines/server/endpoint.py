"""One OpenAI-compatible server: what it serves, and one request to it.

Says of every failure whether to ask again, to give this request up, or to stop. Its key goes into
the header of requests and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import httpx2

from resources.engines.protocol import Completion, Request, Sampling
from resources.engines.server import wire
from resources.engines.server.errors import Again, EngineError, Refused
from resources.engines.server.pacing import Limiter, retry_after, waiting
from resources.engines.server.wire import Price, Served

CONNECT_SECONDS = 10.0
LONGEST_DOWN = 5.0  # seconds between looking whether a server is back
NONSENSE = 4  # failures in a row before a server is given a rest
BUSY = {408, 409, 425, 429, 500, 502, 503, 504, 529}
WORDS = 200  # of a server's own words in a message


@dataclass(frozen=True)
class Address:
    """Where a server is asked and how: at most `concurrency` requests at once, each answered
    within `timeout` seconds, with the key that the environment variable `api_key_env` holds."""

    url: str
    api_key_env: str | None = None
    concurrency: int = 64
    timeout: float = 600.0
    price: Price | None = None

    @property
    def base(self) -> str:
        """The URL up to and with /v1."""
        trimmed = self.url.rstrip("/")
        return trimmed if trimmed.endswith("/v1") else f"{trimmed}/v1"

    def key(self) -> str | None:
        """The key. Raises EngineError where the variable is not set."""
        if self.api_key_env is None:
            return None
        found = os.environ.get(self.api_key_env, "").strip()
        if not found:
            raise EngineError(
                f"{self.base}: the environment variable {self.api_key_env} holds no key; set it"
            )
        return found


class Endpoint:
    """A server that is asked; made and used inside one event loop."""

    def __init__(self, address: Address) -> None:
        self.address, self._key = address, address.key()
        self.limiter = Limiter(address.concurrency)
        self.under_way = 0
        self.wake = asyncio.Event()  # there may be something to do
        self.quiet_until = 0.0  # monotonic seconds
        self.failing_since: float | None = None
        self.down = False
        self.last_words = ""
        self.lost = self.refused = 0  # requests in a row that it gave no answer to
        self._failures = 0
        host = urlsplit(address.base).hostname
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx2.Timeout(address.timeout, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=128),
            trust_env=host not in ("127.0.0.1", "localhost", "::1"),
        )

    def answered(self) -> None:
        """It is there."""
        self.failing_since, self.down, self._failures = None, False, 0

    def succeeded(self, seconds: float, tokens: int) -> None:
        """It gave a completion."""
        self.limiter.answered(seconds, tokens, self.under_way)
        self.lost = self.refused = 0
        self.answered()

    def failed(self, problem: Again, sent: float, rng: random.Random) -> None:
        """Ask less at once, or wait, as a failure of a request that was sent then demands."""
        now = time.monotonic()
        self._failures += 1
        self.last_words = str(problem)
        self.failing_since = now if self.failing_since is None else self.failing_since
        if problem.busy:
            self.limiter.busy(sent, now)
        if problem.after is not None:
            self.quiet_until = max(self.quiet_until, now + problem.after)
        self.down = self.down or problem.down
        # One that answers nonsense is quick, and would take all there is from the others.
        if problem.down or (not problem.busy and self._failures > NONSENSE):
            pause = now + min(LONGEST_DOWN, waiting(self._failures, rng))
            self.quiet_until = max(self.quiet_until, pause)

    async def close(self) -> None:
        """Let its connections go."""
        await self._client.aclose()

    async def models(self) -> list[dict[str, Any]] | None:
        """What /v1/models lists; None where the server has no such list. Raises Again,
        EngineError."""
        try:
            said = await self._send("GET", "models", None)
        except Refused:
            return None
        listed = said.get("data") if isinstance(said, dict) else None
        if not isinstance(listed, list):
            return None
        return [
            each for each in listed if isinstance(each, dict) and isinstance(each.get("id"), str)
        ]

    async def served(self, model: str) -> Served:
        """The model as the server has it. Raises EngineError where it serves others only."""
        listed = await self.models()
        if listed is None:
            return Served(model)
        for each in listed:
            if each["id"] == model:
                context = each.get("max_model_len")
                vllm = each.get("owned_by") == "vllm"
                return Served(model, vllm, context if isinstance(context, int) else None)
        names = ", ".join(each["id"] for each in listed[:8]) or "nothing"
        raise EngineError(f"{self.address.base} does not serve {model}; it serves {names}")

    async def ask(
        self,
        request: Request,
        chat: Any,
        served: Served,
        sampling: Sampling,
        seed: int,
        *,
        logprobs: bool,
        ids: Sequence[int] = (),
    ) -> Completion:
        """The answer to one request. Raises Again, Refused, EngineError."""
        path, body = wire.body(request, chat, served, sampling, seed, logprobs=logprobs, ids=ids)
        began = time.monotonic()
        answer = await self._send("POST", path, body)
        return wire.completion(
            answer,
            chat,
            sampling,
            time.monotonic() - began,
            self.address.price,
            logprobs=logprobs,
            ids=ids,
        )

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        url = f"{self.address.base}/{path}"
        try:
            async with asyncio.timeout(self.address.timeout):
                response = await self._client.request(method, url, json=body)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Again(f"nobody answers there ({_why(error)})", down=True) from None
        except (TimeoutError, httpx2.TimeoutException):
            raise Again(f"no answer within {self.address.timeout:g} s", busy=True) from None
        except httpx2.TransportError as error:
            raise Again(f"the connection broke off ({_why(error)})") from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise EngineError(f"{url}: {error}") from None
        if response.status_code == 200:
            try:
                return json.loads(response.content)
            except ValueError:
                raise Again("an answer that is no JSON, or was cut off") from None
        raise self._failure(response, url)

    def _failure(self, response: httpx2.Response, url: str) -> Exception:
        code = response.status_code
        said = f"HTTP {code}: {self._words(response)}"
        if 300 <= code < 400:
            to = response.headers.get("location", "nowhere")
            return EngineError(f"{url}: HTTP {code} sends on to {to}; give that address")
        if code in (401, 403):
            env = self.address.api_key_env
            has = f"the key in {env} was refused" if env else "it wants a key: name api_key_env"
            return EngineError(f"{self.address.base}: {has} ({said})")
        if code in BUSY:
            after = retry_after(response.headers.get("retry-after"))
            return Again(said, busy=True, after=after)
        if code == 404 and "model" in said.lower():
            return EngineError(f"{url}: {said}")
        if code in (404, 405) and not url.endswith("/models"):
            return EngineError(
                f"{url}: {said}; is this the address of an OpenAI-compatible server?"
            )
        return Refused(said)

    def _words(self, response: httpx2.Response) -> str:
        """The server's own words, on one line, without the key."""
        text = response.text
        try:
            found = json.loads(text)
            inner = found.get("error", found) if isinstance(found, dict) else found
            text = str(inner.get("message", inner) if isinstance(inner, dict) else inner)
        except ValueError:
            pass
        line = " ".join(text.split())
        if self._key:
            line = line.replace(self._key, "…")
        return line[:WORDS]


def look(address: Address, model: str) -> Served:
    """What a server says of a model, asked once. Raises EngineError, also where nobody answers."""

    async def ask() -> Served:
        endpoint = Endpoint(replace(address, timeout=min(address.timeout, CONNECT_SECONDS)))
        try:
            return await endpoint.served(model)
        except Again as problem:
            raise EngineError(f"{address.base}: {problem}") from None
        finally:
            await endpoint.close()

    return asyncio.run(ask())


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
