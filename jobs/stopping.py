"""How a command is stopped: SIGINT and SIGTERM alike, as KeyboardInterrupt.

A shell starts its background jobs with SIGINT ignored, and all that they start inherits it: what is
to stop politely has to say so.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt on either signal within the block; to be used in the main thread."""
    before = [signal.signal(number, _interrupt) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
