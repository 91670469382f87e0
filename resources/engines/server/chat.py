"""The chat of a model that only a server has: its toggle is known here, its template there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from resources.chat.toggle import Switch, Toggle

Message = Mapping[str, Any]


class ServedChat:
    """What requests to a served model need of a chat; without tokenizer, so without token ids.

    A model that is told nothing else is asked alike with thinking on and off.
    """

    def __init__(self, thinking: Mapping[str, Any] | None = None) -> None:
        said = dict(thinking or {})
        self.toggle = Toggle.of({"on": {}, "off": {}, **said})
        whole = json.dumps(self.toggle.as_json(), sort_keys=True)
        self.digest = self.identity = "served " + hashlib.sha256(whole.encode()).hexdigest()[:16]

    def told(
        self, messages: Sequence[Message], thinking: str | None
    ) -> tuple[Sequence[Message], Mapping[str, Any]]:
        """The messages, and the arguments of the server's template, the toggle in its place.

        The toggle's text comes first in the system turn, a blank line before what stands there.
        """
        switch: Switch = self.toggle.switch(thinking)
        if not switch.system:
            return messages, switch.arguments
        own = messages[0] if messages and messages[0]["role"] == "system" else None
        text = f"{switch.system}\n\n{own['content']}" if own else switch.system
        rest = messages[1:] if own else messages
        return [{"role": "system", "content": text}, *rest], switch.arguments

    def prompts(
        self, conversations: Sequence[Any], thinking: Sequence[str | None] | None = None
    ) -> list[list[int]]:
        """No token ids: only the server knows them."""
        return [[] for _ in conversations]

    def beginnings(self, texts: Sequence[str]) -> list[list[int]]:
        """No token ids either."""
        return [[] for _ in texts]
