"""An engine that asks another one only for what the request store does not hold.

It does not know how completions are made, nor how they are stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resources.engines.identity import Names
from resources.engines.protocol import (
    Asked,
    Batch,
    Completion,
    Engine,
    Generating,
    Request,
    Sampling,
    expected,
    prompts,
    request_key,
    windows,
)
from resources.engines.store.store import RequestStore
from resources.engines.usage import Usage

if TYPE_CHECKING:
    from resources.chat.chat import Chat

Progress = Callable[[int, int], None]


class Known:
    """What a store holds of one model's completions, under any of its names."""

    def __init__(self, store: RequestStore, names: Names, chat: Chat) -> None:
        self.store, self.names, self.chat = store, names, chat
        self._former: list[str] | None = None

    def keys(self, requests: Iterable[Request], sampling: Sampling) -> list[bytes]:
        """The key of each request under today's name."""
        return [request_key(each, self.names.now, sampling, self.chat) for each in requests]

    def get(
        self, asked: Mapping[bytes, Request], sampling: Sampling, *, logprobs: bool
    ) -> dict[bytes, Completion]:
        """The stored completions among requests by key, each with the ids of its prompt.

        What was paid for under a former name of the model is stored under today's key too.
        """
        found = self.store.get(list(asked), logprobs=logprobs)
        missing = {key: request for key, request in asked.items() if key not in found}
        if missing and self._former is None:
            self._former = list(self.names.former())
        for name in (self._former or ()) if missing else ():
            then = {
                request_key(each, name, sampling, self.chat): key for key, each in missing.items()
            }
            hits = self.store.get(list(then), logprobs=logprobs)
            brought = {then[key]: completion for key, completion in hits.items()}
            if brought:
                self.store.put(brought, self.names.now)
            found |= brought
            missing = {key: request for key, request in missing.items() if key not in found}
        return self.prompted(found, asked)

    def prompted(
        self, found: Mapping[bytes, Completion], asked: Mapping[bytes, Request]
    ) -> dict[bytes, Completion]:
        """The completions with the ids of their prompts, told by the chat where nobody did."""
        untold = [key for key, each in found.items() if not each.prompt_ids]
        told = prompts([asked[key] for key in untold], self.chat)
        more = {
            key: replace(found[key], prompt_ids=ids) for key, ids in zip(untold, told, strict=True)
        }
        return {**found, **more}


class CachedEngine(Generating):
    """An engine that asks another one only for what the store does not hold.

    `names` are the model's in keys: where none are given, the version that the engine draws by.
    `usage` counts what was answered so far. `progress` is called with (completions so far, of how
    many; 0 where that is not known) after every batch of a call.
    """

    def __init__(
        self,
        engine: Engine,
        root: str | Path,
        names: Names | None = None,
        progress: Progress | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.engine = engine
        self.model_version = engine.model_version
        self.names = names or Names(engine.model_version)
        self.chat, self.window = engine.chat, engine.window
        self.store = RequestStore(root)
        self.known = Known(self.store, self.names, self.chat)
        self.progress = progress
        self.usage = usage or Usage()

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """What is stored as it is found, and what the engine answers once it is stored."""
        call = _Call(self, requests, sampling, logprobs)
        for answers in self.engine.batches(call.missing(), sampling, logprobs=logprobs):
            yield from call.ready(answers)
        yield from call.ready([])


class _Call:
    """One call: which requests are under way, and what is ready to be handed over."""

    def __init__(
        self, engine: CachedEngine, requests: Asked, sampling: Sampling, logprobs: bool
    ) -> None:
        self.engine, self.requests = engine, requests
        self.sampling, self.logprobs = sampling, logprobs
        self.hits: deque[Batch] = deque()
        self.asked: dict[int, tuple[bytes, Request]] = {}  # by the inner engine's index
        self.places: dict[bytes, list[int]] = {}  # of those under way, the caller's indices
        self.done, self.total = 0, expected(requests)

    def missing(self) -> Iterator[Request | None]:
        """What the store does not hold, window by window."""
        begin = sent = 0
        for window in windows(self.requests, self.engine.window):
            places: dict[bytes, list[int]] = {}
            for index, key in enumerate(self.engine.known.keys(window, self.sampling), begin):
                places.setdefault(key, []).append(index)
            first = {key: window[members[0] - begin] for key, members in places.items()}
            begin += len(window)
            for key in [key for key in places if key in self.places]:  # under way already
                self.places[key] += places.pop(key)
                del first[key]
            found = self.engine.known.get(first, self.sampling, logprobs=self.logprobs)
            for completion in found.values():
                self.engine.usage.add(completion, cached=True)
            if found:
                self.hits.append([(i, each) for key, each in found.items() for i in places[key]])
            wanted = [(key, each) for key, each in first.items() if key not in found]
            self.places.update({key: places[key] for key, _ in wanted})
            for key, request in wanted:
                self.asked[sent] = key, request
                sent += 1
                yield request
            yield None

    def ready(self, answers: Batch) -> Iterator[Batch]:
        """The hits so far, then these answers of the engine, stored first."""
        while self.hits:
            yield self._counted(self.hits.popleft())
        if not answers:
            return
        of = {index: self.asked.pop(index) for index, _ in answers}
        fresh = {of[index][0]: completion for index, completion in answers}
        kept = {key: each for key, each in fresh.items() if each.answered}
        stored = {**fresh, **self.engine.store.put(kept, self.engine.names.now)}
        for completion in stored.values():
            self.engine.usage.add(completion, cached=False)
        whole = self.engine.known.prompted(stored, dict(of.values()))
        yield self._counted([(i, each) for k, each in whole.items() for i in self.places.pop(k)])

    def _counted(self, batch: Batch) -> Batch:
        self.done += len(batch)
        if self.engine.progress is not None:
            self.engine.progress(self.done, self.total)
        return batch
