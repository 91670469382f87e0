"""Seconds of one block out of two stacks of blocks, and the clock that takes them.

The slope between a stack of N and one of 2N identical layers leaves out whatever is not repeated:
launch, synchronisation, the loop. Knows callables and samples; knows nothing of models.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

SHORTEST = 0.005  # seconds a sample lasts at least: shorter runs are repeated within a sample
MORE = (4, 16, 64)  # times as many samples, try by try, while a time comes out negative
STEADY = 0.1  # noise, as a share of the short stack's time, below which a time is told from 0

Run = Callable[[], object]


class TimingError(RuntimeError):
    """A time cannot be measured; the message says of what, why and what to change."""


@dataclass(frozen=True)
class Marginal:
    """Seconds of one block and of what is not repeated.

    `noise` is twice the standard deviation of the former's samples. `clamped`: it came out below 0
    by less than its noise and was set to 0.
    """

    seconds: float
    overhead: float
    noise: float
    clamped: bool = False


def paired(
    short: Sequence[float], long: Sequence[float], blocks: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds a block and seconds of the rest, from stacks of `blocks` and twice as many.

    slope = (t_2N - t_N) / N and intercept = 2 t_N - t_2N, for each quantity (prefill, decode).

    >>> paired((14, 6), (22, 10), 4)
    ((2.0, 1.0), (6, 2))
    """
    pairs = list(zip(short, long, strict=True))
    return tuple((b - a) / blocks for a, b in pairs), tuple(2 * a - b for a, b in pairs)


def marginal(short: Sequence[float], long: Sequence[float], blocks: int) -> Marginal:
    """The time of a block from samples of both stacks taken in turn, by the least of each: what
    else runs on a machine only ever adds time.

    Raises:
        TimingError: it is negative beyond its noise, or the samples are too noisy to call it 0.
    """
    middle = min(short), min(long)
    (seconds,), (overhead,) = paired(middle[:1], middle[1:], blocks)
    differences = [(b - a) / blocks for a, b in zip(short, long, strict=True)]
    spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
    noise = 2 * spread
    if seconds >= 0:
        return Marginal(seconds, overhead, noise)
    if -seconds > noise or noise * blocks > STEADY * middle[0]:
        raise TimingError(
            f"{2 * blocks} blocks took {middle[1]:.3g} s, less than {blocks} blocks with "
            f"{middle[0]:.3g} s (noise {noise * blocks:.1g} s in {len(short)} samples); stop what "
            "else runs on the machine, or measure with more blocks and repeats"
        )
    return Marginal(0.0, middle[0], noise, clamped=True)


def interleaved(runs: Sequence[Run], device: torch.device, repeats: int) -> list[list[float]]:
    """Seconds of each run, `repeats` samples each, taken in turn so that drift meets all alike."""
    times = []
    for run in runs:
        run()
        times.append(max(1, math.ceil(SHORTEST / max(_seconds(run, device, 1), 1e-7))))
    samples: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, count, taken in zip(runs, times, samples, strict=True):
            taken.append(_seconds(run, device, count))
    return samples


def _seconds(run: Run, device: torch.device, times: int) -> float:
    """Seconds of one run, the mean of `times` in a row."""
    if device.type == "cuda":
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        for _ in range(times):
            run()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / 1000 / times
    began = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - began) / times


def settled(
    sample: Callable[[int], list[list[float]]], repeats: int, blocks: int
) -> tuple[Marginal, Marginal]:
    """Prefill and decode seconds of a block; a negative one is measured again with more repeats.

    `sample(repeats)` gives samples of prefill and decode of the short stack, then of the long one.
    """
    samples = sample(repeats)
    for more in MORE:
        try:
            found = _phases(samples, blocks)
            if not any(phase.clamped for phase in found):
                return found
        except TimingError:
            pass  # what it says is said below, of more samples
        further = sample(more * repeats)
        samples = [old + new for old, new in zip(samples, further, strict=True)]
    return _phases(samples, blocks)


def _phases(samples: Sequence[Sequence[float]], blocks: int) -> tuple[Marginal, Marginal]:
    prefill, decode, long_prefill, long_decode = samples
    return marginal(prefill, long_prefill, blocks), marginal(decode, long_decode, blocks)
