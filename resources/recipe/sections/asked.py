"""How a role that works by prompt is asked: what the sections of all such roles share."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from resources.recipe.sections.base import Count, NonNegative, Section, Text, impossible
from resources.tasks.prompting import Prompting


class Asked(Section):
    """`prompt` is a bundled one's name, or a Jinja text of one's own over the fields that `prompts`
    names."""

    prompts: ClassVar[Prompting]

    prompt: Text | None = None
    thinking: Literal["on", "off"] | None = None
    temperature: NonNegative = 0.0
    max_new_tokens: Count = 1024

    @field_validator("prompt")
    @classmethod
    def _asks(cls, value: str | None) -> str | None:
        if value is not None and (found := cls.prompts.faults(value)):
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
