"""How many requests may fail before the answers of the others are no result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from assets.sft_data.asking import Asking
from resources.engines.protocol import FAILED, NO_ROOM, Completion, Request, Sampling


class Says:
    """An engine of which it is settled how each request ends."""

    def __init__(self, ends: Sequence[str]) -> None:
        self.ends = ends

    def batches(self, requests: Any, sampling: Sampling) -> Iterator[list[tuple[int, Completion]]]:
        for place, (_, end) in enumerate(zip(requests, self.ends, strict=True)):
            yield [(place, Completion("", [], end, 1, 0, None, 0.0, served=f"no. {place}"))]


def ask(asking: Asking, ends: Sequence[str]) -> None:
    engine: Any = Says(ends)

    def request(_: int) -> Request:
        return Request(())

    for asked, made in asking.answered(engine, range(len(ends)), request, len(ends), Sampling(0.0)):
        assert len(asked) == len(made)


def test_one_in_a_hundred_is_borne_and_the_next_is_not() -> None:
    asking = Asking("a/b")
    ask(asking, ["stop"] * 198 + [FAILED])
    ask(asking, [FAILED])
    assert asking.settled() == {"requests": [], "engine_seconds": 0}
    ask(asking, [FAILED])
    with pytest.raises(ValueError, match=r"^a/b: 3 of 201 requests .*\(the last: no\. 0\)"):
        asking.settled()


def test_a_prompt_without_room_is_no_failure() -> None:
    """Asked again it would have none either: it is a row whose verdict is unknown."""
    asking = Asking("a/b")
    ask(asking, [NO_ROOM] * 3)
    asking.settled()
    assert (asking.requests, asking.failed) == (3, 0)
