"""Texts that end an answer: found as tokens come, and cut off what was written.

Knows how ids become text, not how they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from resources.engines.decoding import Step


class StopTexts:
    """Looks for stop texts at the ends of growing sequences.

    Only the last tokens are read again each step: as many as the longest text has characters, which
    is the most tokens it can be, and some for the characters that several tokens share.
    """

    SHARED = 8

    def __init__(self, stop: Sequence[str], decode: Callable[[list[int]], str]) -> None:
        self.stop, self._decode = tuple(stop), decode
        self._held: dict[int, list[int]] = {}
        self._window = max((len(text.encode()) for text in stop), default=0) + self.SHARED

    def over(self, step: Step) -> npt.NDArray[np.bool_]:
        """Whether each row of a step has now written one of the texts."""
        ended = []
        for row, token in zip(step.rows.tolist(), step.tokens.tolist(), strict=True):
            held = self._held.setdefault(row, [])
            held.append(token)
            tail = self._decode(held[-self._window :])
            ended.append(any(text in tail for text in self.stop))
        return np.array(ended, dtype=np.bool_)


def cut(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """What stands before the first stop text, and whether there was one.

    >>> cut("a b\\n\\nQ: c", ["\\n\\n", "Q:"])
    ('a b', True)
    """
    places = [place for place in map(text.find, stop) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)
