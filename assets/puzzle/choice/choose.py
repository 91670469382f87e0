"""From scores and costs to an architecture: the recipe's problem is searched and written down.

Knows artifacts and the recipe's search section; what is searched is made in `problem.py`, the
search itself is in `search.py`, what is decided by true KL in `rescoring.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assets.puzzle.choice import batch_sizes as batches
from assets.puzzle.choice.candidate_costs import COSTS, PARENT
from assets.puzzle.choice.pareto import pareto
from assets.puzzle.choice.problem import Problem, read_problem
from assets.puzzle.choice.tables import architecture_rows, architecture_table, chosen_rows, rows_of
from assets.puzzle.choice.target import removed_table
from assets.puzzle.search import Architecture, search_many
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

Row = dict[str, Any]


def choose_architecture(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Table `architectures` (a row a layer): the least objective within the recipe's limits.

    Inputs: parent, block_scores, block_costs; cost_profile where limits, batches or the front are
    of seconds; corpus and block_library for rounds. Recipe: the search section, tokens and
    sequence_length (of the rounds). The first layer always keeps an attention: engines create the
    residual stream there.

    Where the recipe asks for them also: `removed_variants` (what the target cannot run), `pareto`,
    `batch_sweep`, `alternatives` (the best architectures that differ enough), `rounds`, and
    `measured_choices` (all that was judged by true KL, which then decides).

    Raises:
        InfeasibleError: with the reachable value of each limit, in whole-model units.
        ValueError: a layer and variant has a cost but no score, or a score that is not finite; or
            the target can run no choice.
    """
    began = time.monotonic()
    model = recipe["model"]
    problem = read_problem(inputs, recipe)
    swept = batches.sweep(problem, recipe["time_limit"])
    batch, found = batches.best(swept)
    candidates = problem.candidates[batch]
    rows = rows_of(candidates, found)
    tables, images = _beside_the_choice(problem, swept, batch, found, recipe)
    extra = {} if recipe["target"] is None else {"removed": float(len(problem.removed))}
    if recipe["rounds"] or recipe.get("measured"):
        from assets.puzzle.choice.rescoring import rescored

        start = chosen_rows(candidates, architecture_table(model, architecture_rows(rows)))
        again = rescored(workdir, inputs, problem, batch, start, recipe, execution)
        table = candidates.to_pylist()
        rows = [table[row] for row in again.rows]
        tables |= again.tables
        extra |= again.metrics
    layers = architecture_rows(rows)
    return Output(
        tables={"architectures": architecture_table(model, layers), **tables},
        metrics={
            **_what_it_costs(problem, batch, rows),
            "gap": found.gap,
            "proven": float(found.proven),
            **extra,
        },
        observations={
            "seconds": time.monotonic() - began,
            "solver": found.solver,
            "candidates": candidates.num_rows,
            "removed": dict(Counter(reason for *_, reason in problem.removed)),
        },
        images={"architecture": strip(model, layers, candidates), **images},
    )


def strip(model: str, layers: Sequence[Mapping[str, Any]], candidates: pa.Table) -> bytes:
    """The architecture as a picture: shares of the parent's KV bytes and of its FFN, by layer;
    layers of fused runs are outlined."""
    from assets.puzzle.pictures import architecture_strip

    keys = {
        (row["layer"][0], row["attention"]): row["kv_bytes_per_token"]
        for row in candidates.to_pylist()
        if len(row["layer"]) == 1
    }
    full = PARENT.split("/")[0]
    return architecture_strip(
        f"{model}: attention (KV heads) and FFN (width) kept, share of the parent",
        [keys[row["layer"], row["attention"]] / max(keys[row["layer"], full], 1) for row in layers],
        [ffn_share(row["ffn"]) for row in layers],
        [row["fused_into"] is not None for row in layers],
    )


def ffn_share(variant: str) -> float:
    """The share of the parent's FFN width a variant name stands for; a linear one counts as 0."""
    if variant == "full":
        return 1.0
    return float(variant.removeprefix("ratio_")) / 100 if variant.startswith("ratio_") else 0.0


def _beside_the_choice(
    problem: Problem,
    swept: Sequence[batches.Swept],
    batch: int,
    found: Architecture,
    recipe: Mapping[str, Any],
) -> tuple[dict[str, pa.Table], dict[str, bytes]]:
    """The tables and pictures that the recipe asks for beside the architecture itself."""
    model = recipe["model"]
    tables: dict[str, pa.Table] = {}
    images: dict[str, bytes] = {}
    if recipe["target"] is not None:
        tables["removed_variants"] = removed_table(model, problem.removed)
    if recipe["batches"]:
        tables["batch_sweep"] = batches.sweep_table(model, swept, batch)
    if recipe["solutions"] > 1:
        tables["alternatives"] = _alternatives(model, problem, batch, recipe)
    if recipe["pareto"] is not None:
        tables["pareto"], images["pareto"] = _front(model, problem, batch, found, recipe)
    return tables, images


def _alternatives(model: str, problem: Problem, batch: int, recipe: Mapping[str, Any]) -> pa.Table:
    found = search_many(
        problem.candidates[batch],
        problem.bounds[batch],
        problem.objective,
        k=recipe["solutions"],
        min_distance=recipe["min_distance"],
        time_limit=recipe["time_limit"],
        **problem.rules,
    )
    return pa.Table.from_pylist(
        [
            {"model": model, "rank": rank, **row, "objective": each.objective}
            for rank, each in enumerate(found, 1)
            for row in architecture_rows(rows_of(problem.candidates[batch], each))
        ],
        schema=ALTERNATIVES_SCHEMA,
    )


ALTERNATIVES_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("rank", pa.int64()),
        ("layer", pa.int64()),
        ("attention", pa.string()),
        ("ffn", pa.string()),
        ("fused_into", pa.int64()),
        ("objective", pa.float64()),
    ]
)


def _front(
    model: str, problem: Problem, batch: int, found: Architecture, recipe: Mapping[str, Any]
) -> tuple[pa.Table, bytes]:
    """Table and picture of the front; a throughput's is that of the latency it stands for."""
    from assets.puzzle.pictures import pareto_front

    column = recipe["pareto"]["column"]
    searched = "latency_seconds" if column == "throughput" else column
    front = pareto(
        problem.candidates[batch],
        searched,
        recipe["pareto"]["points"],
        problem.objective,
        problem.bounds[batch],
        time_limit=recipe["time_limit"],
        **problem.rules,
    ).to_pylist()
    tokens = problem.tokens[batch]
    for row in front if column == "throughput" else []:
        row |= {name: tokens / row[name] for name in ("bound", "value")}
    value = found.totals[searched]
    picture = pareto_front(
        f"{model}: least sum of scores by {column.replace('_', ' ')}",
        column,
        [row["value"] for row in front],
        [row["objective"] for row in front],
        (tokens / value if column == "throughput" else float(value), found.objective),
    )
    return pa.Table.from_pylist([{"model": model, "column": column, **r} for r in front]), picture


def _what_it_costs(problem: Problem, batch: int, rows: Sequence[Row]) -> dict[str, float]:
    """Metrics of the candidate rows chosen: score, parameters, each cost as a share of the parent's
    at that batch, attention-free layers, batch, and tokens a second where seconds are known."""
    candidates, parent = problem.candidates[batch], problem.parent[batch]
    totals = {
        column: float(sum(row[column] for row in rows))
        for column in (problem.objective, *COSTS)
        if column in candidates.column_names and candidates[column].null_count == 0
    }
    layers = architecture_rows(rows)
    costs = {
        problem.objective: totals[problem.objective],
        "parameters": totals["parameters"],
        **{
            f"{column}_share": totals[column] / parent[column]
            for column in COSTS
            if parent.get(column) and column in totals
        },
        "attention_free_layers": float(sum(row["attention"] == "noop" for row in layers)),
        "batch": float(batch),
    }
    if "latency_seconds" in totals:
        costs["throughput"] = problem.tokens[batch] / totals["latency_seconds"]
    return costs
