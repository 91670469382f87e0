"""Asks an engine about things one by one, and hands its answers on in groups, each with its thing.

Knows engines and requests; not what is asked about, nor what becomes of the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from resources.engines.protocol import Completion, Counted, Engine, Request, Sampling

GROUP = 1024  # answers that are handed on together
T = TypeVar("T")


def answered(
    engine: Engine,
    things: Iterable[T],
    request: Callable[[T], Request],
    count: int,
    sampling: Sampling,
) -> Iterator[tuple[list[int], list[T], list[Completion]]]:
    """Answers to `count` things as they come: their places, the things, completions.

    In groups of about `GROUP`; neither things nor answers are held longer. Raises RuntimeError
    where the engine leaves some out.
    """
    waiting: dict[int, T] = {}

    def asked() -> Iterator[Request]:
        for place, thing in enumerate(things):
            waiting[place] = thing
            yield request(thing)

    held: list[tuple[int, Completion]] = []

    def group() -> tuple[list[int], list[T], list[Completion]]:
        places = [place for place, _ in held]
        return places, [waiting.pop(place) for place in places], [each for _, each in held]

    for batch in engine.batches(Counted(asked(), count), sampling):
        held += batch
        if len(held) >= GROUP:
            yield group()
            held.clear()
    if held:
        yield group()
    if waiting:
        raise RuntimeError(f"the engine left {len(waiting)} of {count} requests unanswered")
