"""The verdict that every verifier returns: three values and the evidence for it.

`unknown` says that the verifier could not decide; it never counts as correct, and never as
incorrect.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Value = Literal["correct", "incorrect", "unknown"]
VALUES: tuple[str, ...] = get_args(Value)


@dataclass(frozen=True)
class Verdict:
    """What a verifier decided, and why in one line (no timings: the same input, the same text)."""

    verdict: Value
    evidence: str

    def __post_init__(self) -> None:
        if self.verdict not in VALUES:
            raise ValueError(f"verdict is {self.verdict!r}; it must be one of {', '.join(VALUES)}")

    @property
    def correct(self) -> bool:
        """True only for `correct`."""
        return self.verdict == "correct"


def shorten(text: str, limit: int = 160) -> str:
    """`text` on one line of at most `limit` characters, for evidence.

    >>> shorten("a  b\\nc", 10)
    'a b c'
    >>> shorten("abcdefghij", 8)
    'abcde...'
    """
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
