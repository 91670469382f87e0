"""Is the search worth it: the search against other ways to choose, sums of scores against true KL.

Evaluates whole assemblies on held-out documents, which is affordable for small models only. Knows
artifacts and sections; the ways to choose are in `methods.py`, the evaluation in `assemblies.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.puzzle.choice.cuts import Rows, parent_rows
from assets.puzzle.choice.methods import SEARCH, choices, damaged, hand_cuts
from assets.puzzle.choice.problem import read_problem
from assets.puzzle.intervals import intervals
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from assets.puzzle.program.solver import Program
    from resources.execution import Execution

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
        ("perplexity_low", pa.float64()),
        ("perplexity_high", pa.float64()),
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
    documents, nats a token, as `perplexity` with a bootstrap interval over sequences; null where a
    method ends outside. `above_search`: by how much it exceeds the search's, paired by sequence.
    """
    from assets.puzzle.calibration import judging
    from assets.puzzle.choice.assemblies import assembly_measures
    from assets.puzzle.opening import open_library

    began = time.monotonic()
    seed, model = recipe["seed"], recipe["model"]
    problem = read_problem(inputs, recipe["search"])
    batch = int(inputs["architecture"].metrics["batch"])
    program, bounds = problem.program(batch)
    library = open_library(inputs, recipe, execution.device)
    methods = choices(problem, batch, inputs["architecture"], recipe["random"], seed)
    methods |= hand_cuts(program, bounds, library, inputs["corpus"], recipe, workdir, execution)
    scores = program.candidates.columns[problem.objective]
    random = damaged(program, scores, recipe["assemblies"], seed)
    feasible = {name: rows for name, rows in methods.items() if rows is not None}
    data = judging(inputs["corpus"], recipe)
    chosen = [*feasible.values(), *random]
    found = assembly_measures(
        library,
        [program.candidates.pieces(rows) for rows in [*chosen, parent_rows(program)]],
        data,
        batch=execution.micro_batch,
        folder=workdir,
        progress=execution.progress,
    )
    sums = np.array([math.fsum(scores[list(rows)]) for rows in chosen])
    means, judged = found[:-1, :, 0].mean(axis=1), len(feasible)
    known = _measured(list(feasible), sums, found[:judged], seed)
    rows = _baselines(model, program, methods, known)
    return Output(
        tables={
            "search_baselines": pa.Table.from_pylist(rows, schema=BASELINE_SCHEMA),
            "surrogate": _surrogate(model, program, random, sums[judged:], means[judged:]),
        },
        metrics={
            **_agreement(sums, means, judged),
            **_best(known, means),
            **{f"parent_{name}": value for name, value in _perplexity(found[-1], seed).items()},
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
            **_perplexity(values[at], seed),
        }
        for at, name in enumerate(names)
    }


def _perplexity(values: np.ndarray, seed: int) -> dict[str, float]:
    """The perplexity of one model's KL and cross-entropy of each sequence `[N, 2]`, with its
    interval."""
    low, high = intervals(values[:, 1], seed)
    found = {"": values[:, 1].mean(), "_low": low, "_high": high}
    return {f"perplexity{name}": float(np.exp(loss)) for name, loss in found.items()}


def _baselines(
    model: str,
    program: Program,
    methods: Mapping[str, Rows | None],
    known: Mapping[str, Mapping[str, float]],
) -> list[dict[str, Any]]:
    """The `search_baselines` rows: what is measured of each method and its totals, where it ended
    within the limits."""
    whole = program.candidates.total("parameters", parent_rows(program))
    rows = []
    for name, chosen in methods.items():
        row = {"model": model, "method": name, "feasible": chosen is not None}
        if chosen is not None:
            totals = {column: program.candidates.total(column, chosen) for column in TOTALS}
            row |= {**known[name], **totals, "parameters_share": totals["parameters"] / whole}
        rows.append(row)
    return rows


def _surrogate(
    model: str, program: Program, random: Sequence[Rows], sums: np.ndarray, means: np.ndarray
) -> pa.Table:
    """The `surrogate` rows: sum of scores and true KL of each random assembly."""
    parameters = [program.candidates.total("parameters", rows) for rows in random]
    return pa.table(
        {
            "model": [model] * len(random),
            "assembly": pa.array(range(len(random)), pa.int64()),
            "surrogate": sums,
            "kl": means,
            "parameters": pa.array(parameters, pa.int64()),
        }
    )


def _agreement(sums: np.ndarray, means: np.ndarray, judged: int) -> dict[str, float]:
    """How well sums of scores foretell true KL, `[judged + random]` each: correlations over the
    random assemblies; `regret` is by how much the true KL of the method with the least sum exceeds
    the least among the methods."""
    return {
        "spearman": correlation(ranks(sums[judged:]), ranks(means[judged:])),
        "pearson": correlation(sums[judged:], means[judged:]),
        "regret": float(means[:judged][np.argmin(sums[:judged])] - means[:judged].min()),
    }


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


def _best(known: Mapping[str, Mapping[str, float]], means: np.ndarray) -> dict[str, float]:
    """True KL of the search's choice, and the least of the other methods', where there are any."""
    others = [at for at, name in enumerate(known) if name != SEARCH]
    best = {"best_other_kl": float(means[others].min())} if others else {}
    return {"search_kl": known[SEARCH]["kl"], **best}


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
