"""An engine that asks servers: one, several, or one that it starts itself.

The same protocol as a model in this process. Servers are only looked for when there is something
to ask.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from resources.engines.protocol import (
    Asked,
    Batch,
    Generating,
    Request,
    Sampling,
    prompts,
    request_key,
)
from resources.engines.server.calls import Call, Said, Task
from resources.engines.server.endpoint import Address

WINDOW = 4096
PATIENCE = 600.0  # seconds without any answer from a server that was there

Open = Callable[[ExitStack], Sequence[Address]]


class ServerEngine(Generating):
    """Completions of `model` by the servers that `open_` names.

    `open_` is called at the first request, with a stack on which it puts what is to be ended with
    this engine. `model_version` decides the seeds that are sent. `said` is what the servers said of
    themselves and how often they were asked.
    """

    def __init__(
        self,
        open_: Open,
        model: str,
        chat: Any,
        model_version: str,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self.model, self.chat, self.model_version = model, chat, model_version
        self.window, self.patience = WINDOW, patience
        self.counts = Said()
        self._open, self._held = open_, ExitStack()
        weakref.finalize(self, self._held.close)  # also as the interpreter ends
        self._addresses: Sequence[Address] | None = None

    def said(self) -> dict[str, Any]:
        """What is recorded of the servers; nothing of it is part of a key."""
        return asdict(self.counts)

    def close(self) -> None:
        """End what was started."""
        self._held.close()
        self._addresses = None

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """Completions as servers answer.

        A request that cannot be answered has a completion that says so. Raises EngineError where
        none can be.
        """
        call: Call | None = None
        feed, more, sent, got = iter(requests), True, 0, 0
        try:
            while more or got < sent:
                boundary = False
                while more and not boundary and (call is None or sent - got < call.ahead):
                    request = next(feed, self)
                    if isinstance(request, Request):
                        call = call or self._call(sampling, logprobs=logprobs)
                        call.submit(self._task(sent, request, sampling))
                        sent += 1
                    more, boundary = request is not self, request is None
                found = call.collect(wait=not boundary) if call and got < sent else []
                got += len(found)
                if found or boundary:
                    yield found
        finally:
            if call is not None:
                call.close()

    def _call(self, sampling: Sampling, *, logprobs: bool) -> Call:
        if self._addresses is None:
            self._addresses = self._open(self._held)
        return Call(
            self._addresses,
            self.model,
            self.chat,
            sampling,
            self.counts,
            logprobs=logprobs,
            patience=self.patience,
        )

    def _task(self, index: int, request: Request, sampling: Sampling) -> Task:
        key = request_key(request, self.model_version, sampling, self.chat)
        (ids,) = prompts([request], self.chat)
        return Task(index, request, ids, int.from_bytes(key[:4], "big") >> 1)
