"""Is the search worth it: the search against other ways to choose, sums of scores against true KL.

Evaluates whole assemblies on held-out documents, which is affordable for small models only. Knows
artifacts and sections; the ways to choose are in `baselines.py`, the evaluation in `assemblies.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.puzzle.choice.cuts import parent_rows
from assets.puzzle.choice.problem import Problem, read_problem
from assets.puzzle.intervals import intervals
from assets.puzzle.program.rules import read_program
from warehouse.artifact import parts
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from assets.puzzle.choice.assemblies import Assembly
    from assets.puzzle.choice.baselines import Rows
    from assets.puzzle.halves import Library
    from assets.puzzle.program.solver import Program
    from resources.execution import Execution

SEARCH = "search"
TOTALS = ("parameters", "kv_bytes_per_token", "memory_bytes")
BASELINE_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("method", pa.string()),
        ("objective", pa.float64()),
        ("kl", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("above_search", pa.float64()),
        ("above_low", pa.float64()),
        ("above_high", pa.float64()),
        ("perplexity", pa.float64()),
        ("parameters", pa.int64()),
        ("parameters_share", pa.float64()),
        ("kv_bytes_per_token", pa.int64()),
        ("memory_bytes", pa.int64()),
        ("feasible", pa.bool_()),
    ]
)


def study_search(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Tables `search_baselines` (a row a way to choose, at equal limits) and `surrogate` (a row a
    random assembly: sum of scores and true KL).

    Inputs: parent, corpus, block_library, block_scores, block_costs, architecture (and
    cost_profile). Recipe: assemblies, random, tokens, sequence_length, and the search section as
    `search`. `kl` is of the assembled model (fused runs in their parallel form) on held-out
    documents, nats a token, with a bootstrap interval over sequences; `above_search` is by how much
    it exceeds the search's, paired over the same sequences; all are null for a method that ends
    outside the limits. `regret` is the true KL of the feasible model with the least sum of scores
    above the best true KL among them.
    """
    from assets.puzzle.calibration import judging
    from assets.puzzle.choice.assemblies import assembly_measures
    from assets.puzzle.halves import Library
    from resources.models.loading import load
    from resources.models.precision import Precision

    began = time.monotonic()
    seed, model = recipe["seed"], recipe["model"]
    problem = read_problem(inputs, recipe["search"])
    batch = int(inputs["architecture"].metrics["batch"])
    program, bounds = read_program(
        problem.candidates[batch], problem.bounds[batch], problem.objective, **problem.rules
    )
    folder, device = inputs["parent"].path(), execution.device
    parent = load(folder, device=device, dtype=Precision.of(recipe, device).weights(folder))
    library = Library(parent, [part.path() for part in parts(inputs, "block_library")])
    methods = choices(problem, batch, inputs["architecture"], recipe["random"], seed)
    methods |= _hand_cuts(program, bounds, library, inputs["corpus"], recipe, workdir, execution)
    scores = program.candidates.columns[problem.objective]
    random = damaged(program, scores, recipe["assemblies"], seed)
    feasible = {name: rows for name, rows in methods.items() if rows is not None}
    data = judging(inputs["corpus"], recipe)
    found = assembly_measures(
        library,
        [assembly(program, rows) for rows in [*feasible.values(), *random, parent_rows(program)]],
        data,
        batch=execution.micro_batch,
        folder=workdir,
        progress=execution.progress,
    )
    sums = np.array([math.fsum(scores[list(rows)]) for rows in [*feasible.values(), *random]])
    means = found[:-1, :, 0].mean(axis=1)
    judged = len(feasible)
    known = _measured(list(feasible), sums, found[:judged], seed)
    whole = program.candidates.total("parameters", parent_rows(program))
    rows = [
        {"model": model, "method": name, "feasible": chosen is not None, **known.get(name, {})}
        | ({} if chosen is None else _sizes(program, chosen, whole))
        for name, chosen in methods.items()
    ]
    surrogate = pa.table(
        {
            "model": [model] * len(random),
            "assembly": pa.array(range(len(random)), pa.int64()),
            "surrogate": sums[judged:],
            "kl": means[judged:],
            "parameters": pa.array(
                [program.candidates.total("parameters", each) for each in random], pa.int64()
            ),
        }
    )
    others = [at for at, name in enumerate(feasible) if name != SEARCH]
    return Output(
        tables={
            "search_baselines": pa.Table.from_pylist(rows, schema=BASELINE_SCHEMA),
            "surrogate": surrogate,
        },
        metrics={
            "spearman": correlation(ranks(sums[judged:]), ranks(means[judged:])),
            "pearson": correlation(sums[judged:], means[judged:]),
            "regret": float(means[:judged][np.argmin(sums[:judged])] - means[:judged].min()),
            "search_kl": known[SEARCH]["kl"],
            "parent_perplexity": float(np.exp(found[-1, :, 1].mean())),
            **({"best_other_kl": float(means[others].min())} if others else {}),
            "assemblies": float(len(random)),
            "tokens": float(data.tokens),
        },
        observations={"seconds": time.monotonic() - began},
        images=_pictures(model, problem.objective, sums, means, list(feasible))
        | _front(model, inputs["architecture"], rows),
    )


def _measured(
    names: Sequence[str], sums: np.ndarray, values: np.ndarray, seed: int
) -> dict[str, dict[str, float]]:
    """Of each way to choose, from KL and cross-entropy of each sequence `[methods, N, 2]`: means
    with intervals, and the paired difference to the search."""
    kl = values[..., 0]
    above = kl - kl[names.index(SEARCH)]
    low, high = intervals(kl, seed)
    above_low, above_high = intervals(above, seed)
    return {
        name: {
            "objective": float(sums[at]),
            "kl": float(kl[at].mean()),
            "ci_low": float(low[at]),
            "ci_high": float(high[at]),
            "above_search": float(above[at].mean()),
            "above_low": float(above_low[at]),
            "above_high": float(above_high[at]),
            "perplexity": float(np.exp(values[at, :, 1].mean())),
        }
        for at, name in enumerate(names)
    }


def _sizes(program: Program, rows: Rows, whole: float) -> dict[str, float]:
    """The totals of rows, and their parameters as a share of the parent's `whole`."""
    totals = {column: program.candidates.total(column, rows) for column in TOTALS}
    return {**totals, "parameters_share": totals["parameters"] / whole}


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


def _hand_cuts(
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
    from assets.puzzle.calibration import sequences
    from assets.puzzle.choice.cuts import by_influence, in_one_piece
    from assets.puzzle.choice.influence import influence
    from assets.puzzle.choice.rounds import kl_with

    data = sequences(
        corpus.table("corpus", columns=["text_ids"]),
        "score",
        tokens=recipe["tokens"],
        sequence_length=recipe["sequence_length"],
        seed=recipe["seed"],
    )
    best: Rows | None = None
    if runs := in_one_piece(program, bounds):
        measure = kl_with(library, data, workdir, batch=execution.micro_batch)
        kl = measure([assembly(program, rows) for rows in runs], "contiguous").mean(axis=1)
        best = runs[int(np.argmin(kl))]
    least = influence(library.parent, data, batch=execution.micro_batch)
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


def assembly(program: Program, rows: Sequence[int]) -> Assembly:
    """The pieces that rows stand for."""
    read = program.candidates
    return [(read.covers[row], read.variants[row]) for row in rows]


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values sharing their mean rank.

    >>> ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [1.5, 0.0, 1.5]
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count + 1) / 2)[place]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation (of ranks it is Spearman's); 0 where one of the two is constant."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _pictures(
    model: str, objective: str, sums: np.ndarray, means: np.ndarray, methods: Sequence[str]
) -> dict[str, bytes]:
    from assets.puzzle.pictures import scatter

    # The search last, on top of a method that chose the same.
    shown = [name for name in methods if not name.startswith("random") and name != SEARCH]
    places = {name: methods.index(name) for name in [*shown, SEARCH]}
    marks = {name: (float(sums[at]), float(means[at])) for name, at in places.items()}
    return {
        "surrogate": scatter(
            f"{model}: random assemblies and chosen ones",
            f"sum of scores ({objective})",
            "true KL to the parent (nats a token)",
            sums[len(methods) :].tolist(),
            means[len(methods) :].tolist(),
            marks,
        )
    }


def _front(
    model: str, architecture: Artifact, rows: Sequence[Mapping[str, Any]]
) -> dict[str, bytes]:
    """The search's front with the other ways to choose beside it, where it drew one."""
    from assets.puzzle.pictures import pareto_front

    if "pareto" not in architecture.manifest["tables"]:
        return {}
    front = architecture.table("pareto").to_pylist()
    column = front[0]["column"] if front else ""
    if column not in TOTALS:
        return {}
    points = {
        row["method"]: (float(row[column]), float(row["objective"]))
        for row in rows
        if row["feasible"] and not row["method"].startswith("random")
    }
    picture = pareto_front(
        f"{model}: least sum of scores by {column.replace('_', ' ')}",
        column,
        [row["value"] for row in front],
        [row["objective"] for row in front],
        points.pop(SEARCH),
        points,
    )
    return {"front": picture}
