"""Whether a reply of a role is of use to the next one. It fails closed."""

from __future__ import annotations

from resources.engines.protocol import UNANSWERED, Completion


def fault(made: Completion, text: str, mark: str, *, whole: bool = False) -> str | None:
    """Why a reply, of which `text` follows the thinking, is of no use; None where it is.

    `mark` is the line between two of which the role was shown texts. A `whole` one must have ended
    by itself.

    >>> one = Completion("x", [], "length", 1, 1, None, 0.0)
    >>> fault(one, "x", "[0123abcd]"), fault(one, " ", "[0123abcd]")
    (None, 'empty')
    >>> fault(one, "x", "[0123abcd]", whole=True)
    'cut off'
    >>> fault(one, "[0123abcd] x", "[0123abcd]")
    'repeats the marks around what it was shown'
    """
    if not made.answered:
        return UNANSWERED[made.finish_reason]
    if mark in text:
        return "repeats the marks around what it was shown"
    if not text.strip():
        return "empty"
    return "cut off" if whole and made.finish_reason == "length" else None
