"""A text that a role is asked with: bundled ones by name, or a recipe's own, with a version.

What models wrote is untrusted: it stands between marks that it cannot have written. Knows neither
roles nor what their replies mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resources import templating

MARK = re.compile(r"^\[[0-9a-f]{8}\]$", re.MULTILINE)


@dataclass(frozen=True)
class Prompting:
    """How one role is asked: `bundled` texts by name, the last of them the newest.

    `example` is a row of the fields that a text may show; `shown` are those that it must show, and
    `ends` what it must ask for, in lower case, with what to say where it does not.
    """

    bundled: Mapping[str, str]
    example: Mapping[str, Any]
    shown: tuple[str, ...]
    ends: tuple[str, str] | None = None

    @property
    def newest(self) -> str:
        """The name of the text that is meant where a recipe says nothing."""
        return list(self.bundled)[-1]

    def version(self, prompt: str | None) -> str:
        """The name that a prompt has in rows: of a bundled one its own, else one made of its text.

        >>> one = Prompting({"answer-1": "{{ answer }}?"}, {"answer": "a."}, ("answer",))
        >>> one.version(None), one.version("Is it right? {{ answer }}")
        ('answer-1', 'own-60bd516c')
        """
        if prompt is None:
            return self.newest
        return prompt if prompt in self.bundled else f"own-{_digest([prompt])}"

    def faults(self, prompt: str) -> list[str]:
        """What keeps a text from being such a prompt."""
        if prompt in self.bundled:
            return []
        if len(prompt.split()) == 1:
            names = " or ".join(self.bundled)
            return [f"no bundled prompt '{prompt}': write {names}, or the text itself"]
        try:
            templating.checked(prompt)
            text = self.message(prompt, self.example)
        except templating.TemplateError as error:
            return [str(error)]
        found = []
        if any(part not in text for name in self.shown for part in _parts(self.example[name])):
            names = " and ".join(f"{{{{ {name} }}}}" for name in self.shown)
            fields = ", ".join([*self.example, "mark"])
            found.append(f"it must show {names}; the fields are {fields}")
        if self.ends is not None and self.ends[0] not in text.lower():
            found.append(f"it must ask for {self.ends[1]}: nothing else is read")
        return found

    def message(self, prompt: str | None, row: Mapping[str, Any]) -> str:
        """The message of a row. TemplateError where the prompt names another field."""
        source = self.bundled.get(prompt or self.newest, prompt or "")
        return templating.text(source, {**row, "mark": mark(row)})


def mark(row: Mapping[str, Any]) -> str:
    """The line between two of which untrusted text stands: made of all texts that a row has."""
    return f"[{_digest([part for value in row.values() for part in _parts(value)])}]"


def marked(message: str) -> list[str]:
    """The texts that stand between marks in a message, in order.

    >>> marked("Which?\\n[0123abcd]\\none\\n[0123abcd]\\n\\n[0123abcd]\\ntwo\\n[0123abcd]\\n")
    ['one', 'two']
    """
    found = MARK.search(message)
    if found is None:
        return []
    return message.split(f"\n{found[0]}\n")[1::2]


def _parts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value or "")]


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
