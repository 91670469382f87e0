"""Means a token over sequences, with 95 % intervals from a bootstrap over them: alone, and of two
models on the same sequences, paired.

Knows arrays only.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000
ENDS = (0.025, 0.975)
Estimate = tuple[float, float, float]  # the value, and the ends of its interval


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
