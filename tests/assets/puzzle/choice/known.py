"""Search problems of layers whose true KL is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from assets.puzzle.choice.assemblies import Assembly
from assets.puzzle.program.rules import read_program
from assets.puzzle.program.solver import Program

Limits = dict[str, tuple[float, float]]


def problem(
    scores: np.ndarray, most: int, runs: tuple[tuple[list[int], float], ...] = ()
) -> tuple[pa.Table, Program, Limits]:
    """Layers of full (costs 2), cut (1) and noop (0) with the scores `[layers, 3]`, at most `most`
    in all; fused runs cost nothing."""
    names = ("full/full", "full/cut", "noop/noop")
    rows = [
        {"layer": [layer], "variant": name, "kl": float(scores[layer, place]), "cost": 2 - place}
        for layer in range(len(scores))
        for place, name in enumerate(names)
    ]
    rows += [{"layer": at, "variant": "fused/full", "kl": kl, "cost": 0} for at, kl in runs]
    table = pa.Table.from_pylist(rows)
    return table, *read_program(table, {"cost": most}, "kl")


def neighbourly(draw: np.random.Generator, layers: int, scores: np.ndarray) -> Callable[..., float]:
    """A true KL in which neighbouring changes hurt each other, unseen by single scores."""
    pairs = draw.uniform(0, 2, (layers, 3, 3))
    pairs[:, 0] = pairs[:, :, 0] = 0
    places = {"full/full": 0, "full/cut": 1, "noop/noop": 2}

    def truth(assembly: Assembly) -> float:
        at = [places[variant] for _, variant in assembly]
        own = sum(scores[layer, place] for layer, place in enumerate(at))
        return float(own + sum(pairs[i, at[i], at[i + 1]] for i in range(layers - 1)))

    return truth
