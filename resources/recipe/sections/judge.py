"""The section `judge`: how a model is asked whether another one's answer is right.

Which model that is stands under `roles` (`roles.py`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from resources.recipe.sections.base import (
    Count,
    CountOrZero,
    NonNegative,
    Section,
    Text,
    impossible,
)
from resources.tasks import judging


class Judge(Section):
    """How the role `judge` is asked whether an answer is right.

    `prompt` is a bundled one's name, or a Jinja text over `question`, `reference`, `answer` and
    `mark`. `agreement`: of each domain's answers whose verdict is known, so many are judged too,
    which shows how often the judge agrees with the verifier.
    """

    prompt: Text | None = None
    thinking: Literal["on", "off"] | None = None
    temperature: NonNegative = 0.0
    max_new_tokens: Count = 1024
    agreement: CountOrZero = 200

    @field_validator("prompt")
    @classmethod
    def _asks(cls, value: str | None) -> str | None:
        if value is not None and (found := judging.faults(value)):
            raise impossible("; ".join(found))
        return value

    @property
    def asked(self) -> dict[str, Any]:
        """What of it decides the replies: an asset's slice."""
        return {
            "prompt": self.prompt,
            "thinking": self.thinking,
            "sampling": {"temperature": self.temperature, "max_new_tokens": self.max_new_tokens},
        }
