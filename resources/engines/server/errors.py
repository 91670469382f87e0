"""What can be wrong with a server or with one of its answers."""

from __future__ import annotations


class EngineError(RuntimeError):
    """No request can be answered; one line says which server, why, and what to do."""


class Again(Exception):
    """No answer this time. `busy`: the server has too much to do; `down`: nobody was there.

    `after` is how many seconds the server asked to wait, None where it did not say.
    """

    def __init__(
        self, what: str, *, busy: bool = False, down: bool = False, after: float | None = None
    ) -> None:
        super().__init__(what)
        self.busy, self.down, self.after = busy, down, after


class NoRoom(Exception):
    """The model's context has no room for the prompt: nobody needs to be asked."""


class Refused(Exception):
    """This request will never be answered, another one may be: it is too long, or filtered."""
