"""The requests of one call, sent to servers from an event loop in a thread of its own.

Every server takes from the same requests as fast as it answers, so that a quick one does more and
what a dead one had goes to the rest. Knows when to ask again and when to give up.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from resources.engines.protocol import FAILED, NO_ROOM, Batch, Completion, Request, Sampling
from resources.engines.server.endpoint import Address, Endpoint
from resources.engines.server.errors import Again, EngineError, NoRoom, Refused
from resources.engines.server.pacing import waiting
from resources.engines.server.wire import Served

TRIES = 8  # of one request, when a server was there
DEADLINE = 4.0  # times the time for one answer, for all tries of a request
LOST_IN_A_ROW, REFUSED_IN_A_ROW = 8, 64  # then it is not the requests
START_SECONDS = 15.0  # for the first sign of a server
TICK = 0.2

log = logging.getLogger("heirloom.engines")


@dataclass
class Task:
    """A request under way; `ids` are the tokens of its prompt where the chat knows them."""

    index: int
    request: Request
    ids: Sequence[int]
    seed: int
    tries: int = 0
    seconds: float = 0.0  # that it was waited for


@dataclass
class Said:
    """What is recorded of a call: requests sent, how often one was sent again, who served."""

    sent: int = 0
    again: int = 0
    lost: int = 0  # sent, and no answer reached us when the call ended
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)


class Call:
    """One call. `submit` and `collect` are for the caller's thread; `close` ends everything."""

    def __init__(
        self,
        addresses: Sequence[Address],
        model: str,
        chat: Any,
        sampling: Sampling,
        said: Said,
        *,
        logprobs: bool,
        patience: float,
    ) -> None:
        self.addresses, self.model, self.chat = addresses, model, chat
        self.sampling, self.logprobs, self.patience = sampling, logprobs, patience
        self.said = said
        self._ready: queue.SimpleQueue[tuple[int, Completion] | BaseException] = queue.SimpleQueue()
        self._held = 0  # answers in the hands of whoever collected last, not yet stored
        self._tasks: deque[Task] = deque()
        self._endpoints: list[Endpoint] = []
        self._served: dict[Endpoint, Served] = {}
        self._out: dict[Endpoint, EngineError] = {}
        self._flying: set[asyncio.Task[None]] = set()
        self._rng = random.Random()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="heirloom-engine", daemon=True)
        self._thread.start()

    @property
    def ahead(self) -> int:
        """How many requests to have submitted and not collected, so that no server waits."""
        return 16 + 2 * sum(each.limiter.allowed for each in list(self._endpoints))

    def submit(self, task: Task) -> None:
        """Send a request as soon as a server has room for it."""
        with suppress(RuntimeError):  # it has ended; `collect` says why
            self._loop.call_soon_threadsafe(self._queue, task)

    def collect(self, *, wait: bool) -> Batch:
        """What was answered since; with `wait` at least one. Raises what stopped the servers.

        Who asks again has stored what it got before: until then that counts as under way, so that
        a kill costs no more answers than a server is asked for at once.
        """
        self._held = 0
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake)
        found: Batch = []
        while True:
            try:
                one = self._ready.get(block=wait and not found)
            except queue.Empty:
                self._held = len(found)
                return found
            if isinstance(one, BaseException):
                raise one
            found.append(one)

    def close(self) -> None:
        """End everything that is under way."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            self._ready.put(error)
        finally:
            self._loop.close()

    async def _main(self) -> None:
        pumps: list[asyncio.Task[None]] = []
        over = asyncio.create_task(self._over.wait())
        try:
            self._endpoints = [Endpoint(address) for address in self.addresses]
            pumps = [asyncio.create_task(self._pump(each)) for each in self._endpoints]
            began = time.monotonic()
            while not over.done():
                ended, _ = await asyncio.wait(
                    [over, *pumps], timeout=TICK, return_when=asyncio.FIRST_COMPLETED
                )
                for each in ended:
                    each.result()
                self._check(began)
        finally:
            flying = [over, *pumps, *self._flying]
            self.said.lost += len(self._flying)
            for each in flying:
                each.cancel()
            await asyncio.gather(*flying, return_exceptions=True)
            for endpoint in self._endpoints:
                await endpoint.close()

    def _check(self, began: float) -> None:
        """Raise where nobody answers any more, or never did."""
        now, silent = time.monotonic(), []
        for endpoint in self._endpoints:
            since = endpoint.failing_since
            patience = self.patience if self._served else START_SECONDS
            if endpoint in self._out:
                silent.append(str(self._out[endpoint]))
            elif since is None or now - since < min(patience, self.patience):
                return
            else:
                where = endpoint.address.base
                silent.append(f"{where}: no answer for {now - since:.0f} s: {endpoint.last_words}")
        raise EngineError(
            f"{'; '.join(silent)}. What was answered is kept: run again once there is a server"
        )

    def _queue(self, task: Task, *, first: bool = False) -> None:
        (self._tasks.appendleft if first else self._tasks.append)(task)
        self._wake()

    def _wake(self) -> None:
        for endpoint in self._endpoints:
            endpoint.wake.set()

    async def _pump(self, endpoint: Endpoint) -> None:
        """Give one server requests, as many at once as it bears."""
        while endpoint not in self._out:
            await asyncio.sleep(max(0.0, endpoint.quiet_until - time.monotonic()))
            if endpoint not in self._served and not await self._meet(endpoint):
                continue
            most = 1 if endpoint.down else endpoint.limiter.allowed
            unstored = self._ready.qsize() + self._held
            if self._tasks and endpoint.under_way + unstored < most:
                flight = asyncio.create_task(self._one(endpoint, self._tasks.popleft()))
                self._flying.add(flight)
                flight.add_done_callback(self._flying.discard)
                endpoint.under_way += 1
                continue
            endpoint.wake.clear()
            await endpoint.wake.wait()
        await asyncio.Event().wait()

    async def _meet(self, endpoint: Endpoint) -> bool:
        """Ask a server what it serves; says whether it can be asked."""
        try:
            self._served[endpoint] = found = await endpoint.served(self.model)
        except Again as problem:
            endpoint.failed(problem, time.monotonic(), self._rng)
            return False
        except EngineError as problem:
            self._put_out(endpoint, problem)
            return False
        endpoint.answered()
        self.said.servers[endpoint.address.base] = {
            "model": found.model,
            "vllm": found.vllm,
            "context": found.context,
        }
        return True

    def _put_out(self, endpoint: Endpoint, problem: EngineError) -> None:
        if len(self._endpoints) > 1:
            log.warning("%s; the other servers go on", problem)
        self._out[endpoint] = problem
        if len(self._out) == len(self._endpoints):
            raise problem

    async def _one(self, endpoint: Endpoint, task: Task) -> None:
        sent = time.monotonic()
        served = self._served[endpoint]
        ids = task.ids if served.vllm else ()
        self.said.sent += 1
        try:
            answer = await endpoint.ask(
                task.request,
                self.chat,
                served,
                self.sampling,
                task.seed,
                logprobs=self.logprobs,
                ids=ids,
            )
        except Again as problem:
            endpoint.failed(problem, sent, self._rng)
            task.seconds += time.monotonic() - sent
            self._retry(endpoint, task, problem)
        except NoRoom:
            self._ready.put((task.index, _empty(NO_ROOM, task)))
        except Refused as problem:
            endpoint.answered()
            endpoint.refused += 1
            self._give_up(endpoint, task, str(problem))
        except EngineError as problem:
            self._queue(task, first=True)
            self._stop(endpoint, problem)
        except Exception as problem:
            self._ready.put(problem)
        else:
            endpoint.succeeded(time.monotonic() - sent, answer.completion_tokens)
            self._ready.put((task.index, answer))
        finally:
            endpoint.under_way -= 1
            endpoint.wake.set()

    def _retry(self, endpoint: Endpoint, task: Task, problem: Again) -> None:
        task.tries += not problem.down
        self.said.again += 1
        if task.tries >= TRIES or task.seconds > DEADLINE * endpoint.address.timeout:
            endpoint.lost += 1
            self._give_up(endpoint, task, f"{problem} ({task.tries} times)")
            return
        after = 0.0 if problem.down or problem.after is not None else None
        delay = waiting(max(1, task.tries), self._rng) if after is None else after
        self._loop.call_later(delay, lambda: self._queue(task, first=True))

    def _give_up(self, endpoint: Endpoint, task: Task, why: str) -> None:
        """Account a request without an answer; put a server out where it is not the request."""
        if endpoint.lost >= LOST_IN_A_ROW or endpoint.refused >= REFUSED_IN_A_ROW:
            count = max(endpoint.lost, endpoint.refused)
            what = f"{count} requests in a row got no answer that can be used, the last: {why}"
            self._stop(endpoint, EngineError(f"{endpoint.address.base}: {what}"))
            self._queue(replace(task, tries=0, seconds=0.0), first=True)
            return
        self._ready.put((task.index, _empty(FAILED, task, why)))

    def _stop(self, endpoint: Endpoint, problem: EngineError) -> None:
        try:
            self._put_out(endpoint, problem)
        except EngineError as last:
            self._ready.put(last)


def _empty(reason: str, task: Task, why: str = "") -> Completion:
    """What stands for an answer that there is not."""
    ids = list(task.ids)
    return Completion("", [], reason, len(ids), 0, None, 0.0, ids, served=why)
