"""Prescreen: scores of pairs put together from those of their halves, and which to score exactly.

The sum over-estimates (on a published 70B library by a third) and is not corrected: its order is
what counts. Knows arrays and pairs of variant names.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Pair = tuple[str, str]


def halves(pairs: Sequence[Pair]) -> np.ndarray:
    """Which pairs have a full part, `[pairs]`: their score is that of the other half."""
    return np.array(["full" in pair for pair in pairs])


def compose(values: np.ndarray, pairs: Sequence[Pair]) -> np.ndarray:
    """Values `[layers, pairs, ...]` of all pairs from those with a full part.

    s(a, f) = s(full, full) + (s(a, full) - s(full, full)) + (s(full, f) - s(full, full)).
    """
    place = {pair: index for index, pair in enumerate(pairs)}
    attention = values[:, [place[(a, "full")] for a, _ in pairs]]
    ffn = values[:, [place[("full", f)] for _, f in pairs]]
    sums: np.ndarray = attention + ffn - values[:, [place[("full", "full")]]]
    return sums


def survivors(composed: np.ndarray, pairs: Sequence[Pair], keep: int) -> np.ndarray:
    """Which pairs to score exactly, `[layers, pairs]`: all with a full part and, of the others, the
    `keep` with the lowest composed scores `[layers, pairs]` of every layer."""
    kept = np.tile(halves(pairs), (len(composed), 1))
    others = np.flatnonzero(~kept[0])
    best = others[np.argsort(composed[:, others], axis=1, kind="stable")[:, :keep]]
    np.put_along_axis(kept, best, True, axis=1)
    return kept
