"""What the answers of a role took: requests, tokens, cost and seconds, exact across resumes.

Counted from the completions that were used, each of which says what it took when it was made. It
knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from resources.engines.protocol import Completion


@dataclass
class Usage:
    """Totals of the completions that a role's model gave for an asset.

    `requests` are different ones, of which `asked` went to the engine now and `cached` were in the
    store. `cost` is in what the prices are in, None where nothing was charged. `engine` gives what
    the engine says of itself, recorded and never part of a key.
    """

    role: str = ""
    model: str = ""
    model_version: str = ""
    engine: Callable[[], dict[str, Any]] = dict
    requests: int = 0
    asked: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0

    def add(self, completion: Completion, *, cached: bool) -> None:
        """Count one request."""
        self.requests += 1
        self.cached += cached
        self.asked += not cached
        self.failed += not completion.answered
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        self.seconds += completion.seconds
        if completion.cost is not None:
            self.cost = (self.cost or 0.0) + completion.cost

    def record(self) -> dict[str, Any]:
        """As JSON values; `tokens` are those of prompts and completions."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        tokens = self.prompt_tokens + self.completion_tokens
        return values | {"engine": self.engine(), "tokens": tokens}
