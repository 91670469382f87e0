"""The thinking toggle: how a model is asked to think or not, and how it marks its thinking.

Plain values, read from a recipe's `thinking:` or a checkpoint's `chat.json`; no tokenizer here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resources.chat.errors import ChatError

MODES = ("on", "off")
TAGS = ("<think>", "</think>")


@dataclass(frozen=True)
class Switch:
    """One position: a text of the system turn, template arguments, or both; or nothing at all."""

    system: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, where: str) -> Switch:
        """From `{system: TEXT, ARGUMENT: VALUE, …}`; ChatError for anything else."""
        if not isinstance(value, Mapping):
            raise ChatError(
                f"{where} is {value!r}: write {{system: TEXT}}, template arguments such as "
                "{enable_thinking: true}, or {}"
            )
        rest = dict(value)
        system = rest.pop("system", None)
        if system is not None and not isinstance(system, str):
            raise ChatError(f"{where}.system is {system!r}: it must be text")
        return cls(system, rest)

    def as_json(self) -> dict[str, Any]:
        """The mapping it was read from."""
        return {**({} if self.system is None else {"system": self.system}), **self.arguments}


@dataclass(frozen=True)
class Toggle:
    """Both positions, and the tags around thinking, which may be tokens or plain text."""

    on: Switch = Switch("detailed thinking on")
    off: Switch = Switch("detailed thinking off")
    tags: tuple[str, str] = TAGS

    @classmethod
    def of(cls, value: Mapping[str, Any] | Toggle | None) -> Toggle:
        """From `{on: …, off: …, tags: [OPEN, CLOSE]}`; what is left out is Nemotron's default.

        The default texts are those of arXiv 2505.00949 §3. Raises ChatError for anything else.
        """
        if isinstance(value, Toggle):
            return value
        if value is None:
            return cls()
        if not isinstance(value, Mapping) or not set(value) <= {"on", "off", "tags"}:
            raise ChatError(f"thinking is {value!r}: it takes on, off and tags, each a mapping")
        tags = value.get("tags", TAGS)
        if len(tags) != 2 or not all(isinstance(tag, str) and tag for tag in tags):
            raise ChatError(f"thinking.tags is {tags!r}: give the opening and the closing tag")
        switches = {
            mode: Switch.of(value[mode], f"thinking.{mode}") for mode in MODES if mode in value
        }
        if switches and len(switches) < len(MODES):
            raise ChatError("thinking names one of on and off: name both, {} where nothing is said")
        return cls(**switches, tags=(tags[0], tags[1]))

    def switch(self, thinking: str | None) -> Switch:
        """The position "on" or "off"; None asks for neither. Raises ChatError for another word."""
        if thinking is None:
            return Switch()
        if thinking not in MODES:
            raise ChatError(f"thinking must be 'on', 'off' or None, not {thinking!r}")
        return self.on if thinking == "on" else self.off

    def as_json(self) -> dict[str, Any]:
        """The mapping that `of` reads."""
        return {"on": self.on.as_json(), "off": self.off.as_json(), "tags": list(self.tags)}
