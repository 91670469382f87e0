"""The replay engine: answers from recorded completions, and from nothing else.

For tests and for rerunning a pipeline on recorded responses without the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from resources.engines.cache import Known
from resources.engines.identity import Names
from resources.engines.protocol import Asked, Batch, Generating, Sampling, windows
from resources.engines.store.store import RequestStore
from resources.engines.usage import Usage

if TYPE_CHECKING:
    from resources.chat.chat import Chat

WINDOW = 4096


class ReplayEngine(Generating):
    """Reads a request store that another engine filled, for the same model and chat."""

    def __init__(
        self, root: str | Path, names: Names, chat: Chat, usage: Usage | None = None
    ) -> None:
        if not Path(root).is_dir() or not any(Path(root).iterdir()):
            raise FileNotFoundError(f"{root}: no recorded requests to replay")
        self.model_version, self.chat, self.window = names.now, chat, WINDOW
        self.usage = usage or Usage()
        self._known = Known(RequestStore(root), names, chat)

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """Recorded completions, window by window. Raises KeyError when one is not recorded."""
        begin = 0
        for window in windows(requests, self.window):
            keys = self._known.keys(window, sampling)
            found = self._known.get(
                dict(zip(keys, window, strict=True)), sampling, logprobs=logprobs
            )
            missing = [
                request for key, request in zip(keys, window, strict=True) if key not in found
            ]
            if missing:
                asked = missing[0].text or missing[0].messages[-1][1]
                raise KeyError(
                    f"{len(missing)} of {len(keys)} requests are not recorded for model version "
                    f"{self.model_version} in {self._known.store.root}, first: {asked[:80]!r}"
                )
            for completion in found.values():
                self.usage.add(completion, cached=True)
            yield [(begin + index, found[key]) for index, key in enumerate(keys)]
            begin += len(keys)
