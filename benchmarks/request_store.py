"""What a hit of the request store costs: rows a second, and memory while they stream.

    python -m benchmarks.request_store [--requests 100000] [--tokens 64] [--replay]

Fills a store in a temporary folder, then asks for everything twice, through a cached engine that
has nothing left to ask: once in the order in which it was stored and once shuffled. Prints rates
and the peak of memory above what was held before. Keys are made of the requests as a run does it.
With `--replay` the recorded answers to 1,000, 10,000, … of the requests are replayed, each in a
process of its own, of which the peak of memory is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Iterator

import psutil

from resources.engines.cache import CachedEngine
from resources.engines.identity import Names
from resources.engines.protocol import (
    Asked,
    Batch,
    Completion,
    Counted,
    Generating,
    Request,
    Sampling,
    windows,
)
from resources.engines.replay import ReplayEngine
from resources.engines.server.chat import ServedChat

SAMPLING = Sampling(0.6, 0.95, 256)


class Made(Generating):
    """Answers at once, with as many tokens as it is told."""

    model_version, window = "v1", 4096

    def __init__(self, tokens: int) -> None:
        self.chat = ServedChat()
        self._ids = list(range(tokens))

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """A window at a time."""
        begin = 0
        for window in windows(requests, self.window):
            yield [
                (begin + i, Completion("word " * len(self._ids), self._ids, "stop", 9, 64, None, 0))
                for i in range(len(window))
            ]
            begin += len(window)


def requests(order: list[int]) -> Iterator[Request]:
    """One request a number."""
    for number in order:
        yield Request((("user", f"How much is {number} times {number}?"),))


def asked(engine: CachedEngine, order: list[int], what: str) -> None:
    """Ask for all; print how fast that went and the memory it took."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    began, worked, found = time.perf_counter(), time.process_time(), 0
    for batch in engine.batches(Counted(requests(order), len(order)), SAMPLING):
        found += len(batch)
        peak = max(peak, process.memory_info().rss)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    print(
        f"{what}: {found} requests in {seconds:.1f} s ({found / seconds:,.0f} rows/s; "
        f"{found / cpu:,.0f} a second of one core), {engine.usage.asked} asked, "
        f"+{(peak - before) / 1e6:.0f} MB"
    )


def replayed(folder: str, count: int) -> None:
    """Replay so many recorded answers; print the peak of this process's memory."""
    engine = ReplayEngine(folder, Names("v1"), ServedChat())
    found = sum(map(len, engine.batches(requests(list(range(count))), SAMPLING)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"replayed {found}: peak {peak / 1e3:.0f} MB", flush=True)


def replay(folder: str, most: int) -> None:
    """Replay 1,000 and more, ten times as many each time."""
    count = 1000
    while count <= most:
        child = multiprocessing.get_context("spawn").Process(target=replayed, args=(folder, count))
        child.start()
        child.join()
        count *= 10


def main() -> None:
    """Fill a store and read it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--replay", action="store_true")
    chosen = parser.parse_args()
    order = list(range(chosen.requests))
    with tempfile.TemporaryDirectory(prefix="heirloom-requests-") as folder:
        asked(CachedEngine(Made(chosen.tokens), folder), order, "stored")
        if chosen.replay:
            replay(folder, chosen.requests)
            return
        asked(CachedEngine(Made(chosen.tokens), folder), order, "hits, as stored")
        random.Random(0).shuffle(order)
        asked(CachedEngine(Made(chosen.tokens), folder), order, "hits, shuffled")


if __name__ == "__main__":
    main()
