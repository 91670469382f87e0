"""Ways to choose an architecture at equal limits: search, greedy choices, hand cuts, random ones.

Each gives rows of the candidates, which the study assembles and measures. Knows problems, programs
and the parent's library; knows nothing of what is made of the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.puzzle.choice.cuts import Rows
from assets.puzzle.choice.problem import Problem
from warehouse.store import Artifact

if TYPE_CHECKING:
    from assets.puzzle.halves import Library
    from assets.puzzle.program.solver import Program
    from resources.execution import Execution

SEARCH = "search"


def choices(
    problem: Problem, batch: int, architecture: Artifact, random: int, seed: int
) -> dict[str, Rows | None]:
    """Method → its rows of the candidates at a batch, None where it ends outside the limits."""
    from assets.puzzle.choice import baselines
    from assets.puzzle.choice.tables import chosen_rows

    candidates, limits = problem.candidates[batch], problem.bounds[batch]
    given = (candidates, limits, problem.objective)
    found: dict[str, Rows | None] = {
        SEARCH: chosen_rows(candidates, architecture.table("architectures")),
        "marginal greedy": baselines.marginal_greedy(*given, **problem.rules),
        "paper greedy": baselines.paper_greedy(*given, **problem.rules),
        "max parameters": baselines.max_parameters(*given, **problem.rules),
        "best uniform": baselines.best_uniform(*given, **problem.rules),
    }
    drawn = baselines.random_choices(*given, count=random, seed=seed, **problem.rules)
    return found | {f"random {number + 1}": rows for number, rows in enumerate(drawn)}


def hand_cuts(
    program: Program,
    bounds: dict[str, tuple[float, float]],
    library: Library,
    corpus: Artifact,
    recipe: Mapping[str, Any],
    workdir: Path,
    execution: Execution,
) -> dict[str, Rows | None]:
    """What a person would cut: whole layers, by influence or the best run of neighbours.

    Influence and true KL are measured on the share that scores blocks, not on what is reported.
    None where whole layers do not reach the limits.
    """
    from assets.puzzle.calibration import scoring
    from assets.puzzle.choice.cuts import by_influence, contiguous
    from assets.puzzle.choice.influence import influence
    from assets.puzzle.choice.rounds import kl_by_part

    data, batch = scoring(corpus, recipe), execution.micro_batch
    best = contiguous(program, bounds, kl_by_part(library, data, workdir, batch=batch))
    least = influence(library.parent, data, batch=batch)
    return {"depth by influence": by_influence(program, bounds, least), "contiguous depth": best}


def damaged(program: Program, scores: np.ndarray, count: int, seed: int) -> list[Rows]:
    """Random assemblies from nearly whole to all replaced: of each, a uniformly drawn number of
    layers gets a random allowed row, the others keep their best one (the parent's)."""
    read, draw = program.candidates, np.random.default_rng(seed)
    layers = read.layers
    own, others = {}, {}
    for layer in layers:
        rows = [r for r in read.rows_at(layer) if read.covers[r] == (layer,)]
        rows = [row for row in rows if row not in program.excluded]
        own[layer] = min(rows, key=lambda row: scores[row])
        others[layer] = [row for row in rows if row != own[layer]] or rows
    found = []
    for _ in range(count):
        replaced = draw.permutation(layers)[: draw.integers(1, len(layers) + 1)].tolist()
        chosen = {at: others[at][draw.integers(len(others[at]))] for at in replaced}
        found.append(tuple((own | chosen).values()))
    return found
