"""Confidence intervals of means over samples, by bootstrap; knows arrays only."""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000
COVERAGE = 0.95


def kl_metrics(kl: np.ndarray, seed: int) -> dict[str, float]:
    """The metrics `kl`, `kl_low` and `kl_high` of the KL of each sequence `[N]`, nats a token."""
    low, high = intervals(kl, seed)
    return {"kl": float(kl.mean()), "kl_low": float(low), "kl_high": float(high)}


def intervals(values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap of the mean over the last axis: (low, high) at 95 % coverage."""
    count = values.shape[-1]
    draws = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    weights = np.stack([np.bincount(draw, minlength=count) for draw in draws]) / count
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(values @ weights.T, [tail, 1 - tail], axis=-1)
    return low, high
