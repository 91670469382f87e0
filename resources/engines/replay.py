"""The replay engine: answers from recorded completions, and from nothing else.

For tests and for rerunning a pipeline on recorded responses without the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resources.engines.cache import RequestCache
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
    """Reads a request cache written by another engine for the same model version and chat."""

    def __init__(self, root: str | Path, model_version: str, chat: Chat) -> None:
        if not (Path(root) / "requests.sqlite").is_file():
            raise FileNotFoundError(f"{root}: no recorded requests (requests.sqlite) to replay")
        self.model_version = model_version
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
        found = self._cache.get(list(dict.fromkeys(keys)), logprobs=logprobs)
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
