"""The scripted engine: the rules of a role answer in the place of a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from resources.engines.protocol import Asked, Batch, Completion, Generating, Sampling
from resources.engines.server.chat import ServedChat
from resources.engines.usage import Usage
from resources.tasks.scripted import NAME, RULES, VERSION

WINDOW = 1024


class ScriptedEngine(Generating):
    """Answers as a role by its rules; words are its tokens, and no limit cuts an answer off."""

    def __init__(self, role: str, usage: Usage) -> None:
        self.model_version, self.window, self.usage = f"{NAME} {VERSION}", WINDOW, usage
        self.chat: Any = ServedChat()
        self._rule = RULES[role]

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """Each request answered at once."""
        asked = (request for request in requests if request is not None)
        for place, request in enumerate(asked):
            message = request.messages[-1][1]
            text = self._rule(message)
            made = Completion(text, [], "stop", len(message.split()), len(text.split()), None, 0.0)
            self.usage.add(made, cached=False)
            yield [(place, made)]
