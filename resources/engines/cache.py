"""The request cache: a completion is paid for once.

Completions lie in one SQLite file under their request's key; many processes may share it, and a
killed process loses at most the batch in flight. It does not know how completions are made.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resources.engines.identity import Names
from resources.engines.protocol import (
    Batch,
    Completion,
    Engine,
    Request,
    Sampling,
    collect,
    prompts,
    request_key,
)

if TYPE_CHECKING:
    from resources.chat.chat import Chat

_SCHEMA = """
CREATE TABLE IF NOT EXISTS completions (
    key BLOB PRIMARY KEY,
    model_version TEXT NOT NULL,
    text TEXT NOT NULL,
    token_ids BLOB NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    logprobs BLOB,
    seconds REAL NOT NULL,
    created REAL NOT NULL
) WITHOUT ROWID
"""
# The first completion stored under a key stays, so that all readers see one; it is replaced only
# to add the log-probabilities it was stored without.
_INSERT = """
INSERT INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    text = excluded.text, token_ids = excluded.token_ids,
    finish_reason = excluded.finish_reason, prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens, logprobs = excluded.logprobs,
    seconds = excluded.seconds, created = excluded.created
WHERE completions.logprobs IS NULL AND excluded.logprobs IS NOT NULL
"""
_COLUMNS = (
    "key, text, token_ids, finish_reason, prompt_tokens, completion_tokens, logprobs, seconds"
)
_CHUNK = 500


class RequestCache:
    """Completions by request key in `<root>/requests.sqlite`.

    Safe for several processes on one machine; `root` must be on a local file system. Raises
    OSError when the folder cannot be written.
    """

    def __init__(self, root: str | Path) -> None:
        folder = Path(root)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "requests.sqlite"
        try:
            self._connection = sqlite3.connect(self.path, timeout=120, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise OSError(
                f"{self.path}: the request cache cannot be opened ({error}): make the folder "
                "writable, or move a damaged file away to start an empty cache"
            ) from error

    def get(self, keys: Sequence[bytes], *, logprobs: bool = False) -> dict[bytes, Completion]:
        """The stored completions among `keys`; with `logprobs` only those that have them."""
        found: dict[bytes, Completion] = {}
        for begin in range(0, len(keys), _CHUNK):
            chunk = keys[begin : begin + _CHUNK]
            marks = ",".join("?" * len(chunk))
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM completions WHERE key IN ({marks})", chunk
            )
            for key, text, ids, reason, prompt, completion, scores, seconds in rows:
                if logprobs and scores is None:
                    continue
                found[bytes(key)] = Completion(
                    text=text,
                    token_ids=np.frombuffer(ids, dtype="<i4").tolist(),
                    finish_reason=reason,
                    prompt_tokens=prompt,
                    completion_tokens=completion,
                    logprobs=np.frombuffer(scores, dtype="<f4").tolist() if logprobs else None,
                    seconds=seconds,
                )
        return found

    def put(self, completions: Mapping[bytes, Completion], model: str) -> None:
        """Store completions in one transaction; what is already stored stays."""
        now = time.time()
        rows = [
            (
                key,
                model,
                completion.text,
                np.asarray(completion.token_ids, dtype="<i4").tobytes(),
                completion.finish_reason,
                completion.prompt_tokens,
                completion.completion_tokens,
                None
                if completion.logprobs is None
                else np.asarray(completion.logprobs, dtype="<f4").tobytes(),
                completion.seconds,
                now,
            )
            for key, completion in completions.items()
        ]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_INSERT, rows)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM completions").fetchone()[0])

    def close(self) -> None:
        """Close the file; the cache cannot be used afterwards."""
        self._connection.close()


def known(
    cache: RequestCache,
    asked: Mapping[bytes, Request],
    names: Names,
    sampling: Sampling,
    chat: Chat,
    *,
    logprobs: bool = False,
) -> dict[bytes, Completion]:
    """The stored completions among requests by key.

    What was paid for under a former name of the model is stored under today's key too.
    """
    found = cache.get(list(asked), logprobs=logprobs)
    missing = {key: request for key, request in asked.items() if key not in found}
    for name in names.former() if missing else ():
        then = {request_key(each, name, sampling, chat): key for key, each in missing.items()}
        hits = cache.get(list(then), logprobs=logprobs)
        brought = {then[key]: completion for key, completion in hits.items()}
        if brought:
            cache.put(brought, names.now)
        found |= brought
        missing = {key: request for key, request in missing.items() if key not in found}
    return found


class CachedEngine:
    """An engine that asks another one only for what the cache does not hold.

    `names` are the model's in keys: where none are given, the version that the engine draws by.
    `asked` and `cached` count the requests so far that went to the engine and that did not.
    `progress` is called with (completions so far, of how many) after every batch of a call.
    """

    def __init__(
        self,
        engine: Engine,
        root: str | Path,
        names: Names | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.engine = engine
        self.model_version = engine.model_version
        self.names = names or Names(engine.model_version)
        self.chat = engine.chat
        self.cache = RequestCache(root)
        self.progress = progress
        self.asked = 0
        self.cached = 0

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> list[Completion]:
        """One completion a request, in order; equal requests are asked once."""
        return collect(self.batches(requests, sampling, logprobs=logprobs), len(requests))

    def batches(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """Stored completions first, then each batch of the engine once it is stored."""
        places: dict[bytes, list[int]] = {}
        for index, request in enumerate(requests):
            key = request_key(request, self.names.now, sampling, self.chat)
            places.setdefault(key, []).append(index)
        first = {key: requests[members[0]] for key, members in places.items()}
        found = known(self.cache, first, self.names, sampling, self.chat, logprobs=logprobs)
        asked = dict(zip(places, prompts(list(first.values()), self.chat), strict=True))
        done = 0

        def batch_of(completions: dict[bytes, Completion]) -> Batch:
            nonlocal done
            whole = {k: replace(answer, prompt_ids=asked[k]) for k, answer in completions.items()}
            batch = [(i, answer) for key, answer in whole.items() for i in places[key]]
            done += len(batch)
            if self.progress is not None:
                self.progress(done, len(requests))
            return batch

        missing = [key for key in places if key not in found]
        self.asked += len(missing)
        self.cached += len(requests) - len(missing)
        if found:
            yield batch_of(found)
        if not missing:
            return
        wanted = [first[key] for key in missing]
        for answers in self.engine.batches(wanted, sampling, logprobs=logprobs):
            fresh = {missing[index]: completion for index, completion in answers}
            self.cache.put(fresh, self.names.now)
            yield batch_of(self.cache.get(list(fresh), logprobs=logprobs))
