"""Intervals and comparisons of scores: of counts in closed form, of sums over sequences by a
bootstrap over them, alone and paired. Knows no models."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

Z95 = 1.959963984540054
RESAMPLES = 1000
ENDS = (0.025, 0.975)
Estimate = tuple[float, float, float]  # the value, and the ends of its 95 % interval


def wilson(accuracy: float, count: float, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a proportion seen in `count` independent trials.

    >>> low, high = wilson(0.5, 100)
    >>> round(low, 4), round(high, 4)
    (0.4038, 0.5962)
    >>> wilson(0.0, 0)
    (0.0, 1.0)
    """
    if count <= 0:
        return 0.0, 1.0
    scale = 1 + z * z / count
    centre = accuracy + z * z / (2 * count)
    spread = z * math.sqrt(accuracy * (1 - accuracy) / count + z * z / (4 * count * count))
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # Rounding must not put an accuracy of 0 or 1 outside its own interval.
    return max(0.0, min(low, accuracy)), min(1.0, max(high, accuracy))


def paired_difference(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Mean of `after - before` over the same problems, and the half-width of its 95 % interval.

    >>> mean, half = paired_difference([0, 0, 1, 1], [1, 0, 1, 1])
    >>> round(mean, 2), round(half, 2)
    (0.25, 0.49)
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} results cannot be paired with {len(after)}")
    count = len(before)
    if count < 2:
        return (after[0] - before[0] if count else 0.0), math.inf
    differences = [b - a for a, b in zip(before, after, strict=True)]
    mean = sum(differences) / count
    variance = sum((d - mean) ** 2 for d in differences) / (count - 1)
    return mean, Z95 * math.sqrt(variance / count)


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """sum(above) / sum(below) and its 95 % interval, a pair the trial (delta method).

    >>> ratio([2.0, 4.0], [1.0, 2.0])
    (2.0, 2.0, 2.0)
    """
    count, total = len(above), sum(below)
    value = sum(above) / total
    if count < 2:
        return value, -math.inf, math.inf
    spread = sum((a - value * b) ** 2 for a, b in zip(above, below, strict=True))
    half = Z95 * math.sqrt(spread * count / (count - 1)) / total
    return value, value - half, value + half


def correct_shares(verdicts: Iterable[tuple[bytes, str]]) -> dict[bytes, float]:
    """By problem id, the share of judged samples that are correct; unjudged problems left out.

    >>> correct_shares([(b"p", "correct"), (b"p", "incorrect"), (b"q", "unknown")])
    {b'p': 0.5}
    """
    judged: dict[bytes, list[bool]] = {}
    for problem, verdict in verdicts:
        if verdict != "unknown":
            judged.setdefault(problem, []).append(verdict == "correct")
    return {problem: sum(values) / len(values) for problem, values in judged.items()}


def mean_of(sums: np.ndarray, seed: int) -> Estimate:
    """The mean a token of sums and counts `[N, 2]`, with its interval over the N sequences.

    >>> mean_of(np.array([[2.0, 1], [2.0, 1]]), 0)
    (2.0, 2.0, 2.0)
    """
    low, high = np.quantile(_redrawn(sums, seed), ENDS)
    return _mean(sums), float(low), float(high)


def difference(after: np.ndarray, before: np.ndarray, seed: int) -> Estimate:
    """By how much the mean of `after` lies above that of `before`, both `[N, 2]` as `mean_of` takes
    them, of the same sequences in the same order: each draw takes the same ones of both.

    >>> difference(np.array([[3.0, 1], [9.0, 1]]), np.array([[2.0, 1], [8.0, 1]]), 0)
    (1.0, 1.0, 1.0)
    """
    low, high = np.quantile(_redrawn(after, seed) - _redrawn(before, seed), ENDS)
    return _mean(after) - _mean(before), float(low), float(high)


def _mean(sums: np.ndarray) -> float:
    return float(sums[:, 0].sum() / sums[:, 1].sum())


def _redrawn(sums: np.ndarray, seed: int) -> np.ndarray:
    """The means of redrawn sequences, `[RESAMPLES]`."""
    draw = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    totals = sums[draw].sum(axis=1)
    return totals[:, 0] / totals[:, 1]
