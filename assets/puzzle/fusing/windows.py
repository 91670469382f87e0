"""Which runs of layers to fuse: windows of low dependency inside attention-free stretches.

Knows block configurations and the matrix of dependencies; knows no models, files or recipes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def kept_apart(
    windows: Sequence[Sequence[int]] | None, runs: Sequence[Sequence[int]], held: Sequence[int]
) -> dict[str, list[int]]:
    """The parent's layers in the recipe's windows that were not fused, if there are any."""
    fused = {layer for run in runs for layer in run}
    apart = [
        layer
        for first, last in windows or []
        for layer in range(first, last + 1)
        if held[layer] not in fused and held.count(held[layer]) == 1
    ]
    return {"not_fused_in_windows": apart} if apart else {}


def in_model(windows: Sequence[Sequence[int]], held: Sequence[int]) -> list[list[int]]:
    """Windows of the parent's layers as windows of the assembled model's, which may be fewer.

    Raises:
        ValueError: a layer beyond the last, or a window that ends inside a layer the search fused.
    """
    found = []
    for first, last in windows:
        if last >= len(held):
            raise ValueError(
                f"window [{first}, {last}]: the parent has layers 0 to {len(held) - 1}"
            )
        for inside, outside in ((first, first - 1), (last, last + 1)):
            if 0 <= outside < len(held) and held[inside] == held[outside]:
                raise ValueError(
                    f"window [{first}, {last}] cuts the run that layers {inside} and {outside} are "
                    "in, which the search fused: give a window that holds all of it or nothing"
                )
        found.append([held[first], held[last]])
    return found


def plan_runs(
    block_configs: Sequence[Mapping[str, Any]],
    matrix: np.ndarray,
    *,
    min_run: int = 2,
    max_run: int | None = None,
    leave_last: bool = True,
    max_dependency: float,
    windows: Sequence[Sequence[int]] | None = None,
    sizes: Sequence[int] | None = None,
) -> list[list[int]]:
    """Runs to fuse: as many layers as possible into windows that depend little on each other.

    Each stretch of attention-free layers, without its last layer when `leave_last` (that layer is
    the sensitive one, arXiv 2503.18908 §5), is cut into windows of `min_run` to `max_run` layers in
    which no M_ij exceeds `max_dependency`; of the cuts that leave the fewest layers, the one with
    the least sum of dependencies is taken.

    Args:
        matrix: `[L, L]` from `fusion.dependency`.
        windows: [first, last] pairs that replace the planning: what lies in them without attention
            is fused, in runs of `min_run` layers at least. They may have been found for another
            architecture, so a layer in them that kept its attention parts a window in two.
        sizes: how many layers of the parent a layer is made of, for `min_run` and `max_run`; one
            by default.
    """
    made_of = dict(enumerate(sizes or [1] * len(block_configs)))
    runs: list[list[int]] = []
    if windows is not None:
        for first, last in windows:
            for stretch in attention_free(block_configs):
                run = [layer for layer in stretch if first <= layer <= last]
                if len(run) > 1 and sum(made_of[layer] for layer in run) >= min_run:
                    runs.append(run)
        return runs
    for stretch in attention_free(block_configs):
        layers = stretch[:-1] if leave_last else stretch
        longest = max_run or sum(made_of.values())
        runs += _windows(layers, matrix, made_of, min_run, longest, max_dependency)
    return runs


def attention_free(block_configs: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Maximal stretches of layers without attention whose FFNs can be fused."""
    stretches: list[list[int]] = [[]]
    for layer, block in enumerate(block_configs):
        if block["attention"]["kind"] == "noop" and block["ffn"]["kind"] != "linear":
            stretches[-1].append(layer)
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def _windows(
    layers: list[int],
    matrix: np.ndarray,
    sizes: Mapping[int, int],
    shortest: int,
    longest: int,
    limit: float,
) -> list[list[int]]:
    """The cut of a stretch with the fewest layers left, then the least dependency (dynamic)."""
    best: list[tuple[int, float, list[list[int]]]] = [(0, 0.0, [])]
    for end in range(1, len(layers) + 1):
        count, total, cut = best[end - 1]
        options = [(count + 1, total, cut)]
        for start in range(end - 2, -1, -1):
            window = layers[start:end]
            inside = [matrix[i, j] for i in window for j in window if i < j]
            if shortest <= sum(sizes[layer] for layer in window) <= longest and (
                max(inside) <= limit
            ):
                count, total, cut = best[start]
                options.append((count + 1, total + float(sum(inside)), [*cut, window]))
        best.append(min(options, key=lambda option: option[:2]))
    return best[-1][2]
