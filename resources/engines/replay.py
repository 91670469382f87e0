"""The replay engine: answers from recorded completions, and from nothing else.

For tests and for rerunning a pipeline on recorded responses without the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resources.engines.cache import RequestCache, known
from resources.engines.identity import Names
from resources.engines.protocol import (
    Batch,
    Completion,
    Request,
    Sampling,
    collect,
    prompts,
    request_key,
)

if TYPE_CHECKING:
    from resources.chat.chat import Chat


class ReplayEngine:
    """Reads a request cache written by another engine for the same model and chat."""

    def __init__(self, root: str | Path, names: Names, chat: Chat) -> None:
        if not (Path(root) / "requests.sqlite").is_file():
            raise FileNotFoundError(f"{root}: no recorded requests (requests.sqlite) to replay")
        self.names, self.model_version = names, names.now
        self.chat = chat
        self._cache = RequestCache(root)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> list[Completion]:
        """One recorded completion a request, in order. Raises KeyError when one is not recorded."""
        return collect(self.batches(requests, sampling, logprobs=logprobs), len(requests))

    def batches(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """All recorded completions in one batch."""
        keys = [request_key(r, self.model_version, sampling, self.chat) for r in requests]
        asked = dict(zip(keys, requests, strict=True))
        found = known(self._cache, asked, self.names, sampling, self.chat, logprobs=logprobs)
        missing = [index for index, key in enumerate(keys) if key not in found]
        if missing:
            raise KeyError(
                f"{len(missing)} of {len(keys)} requests are not recorded for model version "
                f"{self.model_version} in {self._cache.path}, first: "
                f"{requests[missing[0]].messages[-1][1][:80]!r}"
            )
        yield [
            (index, replace(found[key], prompt_ids=prompt))
            for index, (key, prompt) in enumerate(
                zip(keys, prompts(requests, self.chat), strict=True)
            )
        ]
