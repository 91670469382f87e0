"""What is wrong with a recipe, as typed records: where, what, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that stops a recipe, or that it only says (`stops` false).

    `where` is `file:line: key path` (either part may be missing), `what` is wrong there, `remedy`
    is what would be right.
    """

    group: str
    where: str
    what: str
    remedy: str = ""
    stops: bool = True

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.remedy}" if self.remedy else text
