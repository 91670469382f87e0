"""How many requests a server is asked at once, and how long to wait before asking again.

Additive increase, multiplicative decrease, as in TCP. Knows numbers and times, no server.
"""

from __future__ import annotations

import email.utils
import random
import time

START = 4.0
SLOW = 4.0  # times the best pace: from there on more at once only makes each slower
SMOOTH = 0.1  # weight of the newest answer in the pace
PROMPT = (
    32  # tokens that reading a prompt and queueing count as, so that short answers are not slow
)
FORGET = 1.001  # by how much the best pace fades with each answer
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds


class Limiter:
    """The number of requests to have under way at one server, at most `most`.

    It doubles from round to round until the server is busy for the first time; then each round adds
    one, and being busy halves it, once for all requests that were under way. It also shrinks while
    a token takes more than `SLOW` times as long as at best.
    """

    def __init__(self, most: int) -> None:
        self.most, self.limit = most, min(START, float(most))
        self._calm = False  # whether it was ever too much
        self._cut_at = float("-inf")
        self._pace: float | None = None
        self._best = float("inf")

    @property
    def allowed(self) -> int:
        """How many may be under way now."""
        return max(1, int(self.limit))

    def answered(self, seconds: float, tokens: int, under_way: int) -> None:
        """An answer came, while so many were under way."""
        pace = seconds / (tokens + PROMPT)
        self._pace = pace if self._pace is None else (1 - SMOOTH) * self._pace + SMOOTH * pace
        self._best = min(FORGET * self._best, self._pace)
        if self._pace > SLOW * self._best:
            self.limit = max(min(self.limit, START), self.limit - 1 / self.limit)
        elif under_way >= self.allowed:  # else the limit is not what holds it back
            self.limit += 1 / self.limit if self._calm else 1.0
        self.limit = max(1.0, min(self.limit, float(self.most)))

    def busy(self, sent: float, now: float) -> None:
        """The server could not take a request that was sent at `sent`."""
        self._calm = True
        if sent >= self._cut_at:
            self.limit, self._cut_at = max(1.0, self.limit / 2), now


def waiting(tries: int, rng: random.Random) -> float:
    """Seconds before a request is sent again after so many tries: doubling, half of it by chance.

    >>> all(0.25 <= waiting(1, random.Random(seed)) <= 0.5 for seed in range(9))
    True
    >>> waiting(50, random.Random(0)) <= LONGEST_WAIT
    True
    """
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(tries - 1, 16))
    return longest * (0.5 + rng.random() / 2)


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, in either of its forms; None for neither.

    >>> retry_after("2"), retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), retry_after("soon")
    (2.0, 0.0, None)
    """
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
