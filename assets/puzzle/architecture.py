"""From scores and costs to an architecture: the recipe's problem is searched and written down.

Knows artifacts and the recipe's search section; what is searched is made in `problem.py`, the
search itself is in `search.py`, re-scoring in `rounds.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assets.puzzle import batches
from assets.puzzle.costing import COSTS, PARENT
from assets.puzzle.pareto import pareto
from assets.puzzle.problem import Problem, read_problem
from assets.puzzle.rules import read_program
from assets.puzzle.search import Architecture, search_many
from assets.puzzle.target import removed_table
from warehouse.artifact import parts
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
    `batch_sweep`, `alternatives` (the best architectures that differ enough) and `rounds`.

    Raises:
        InfeasibleError: with the reachable value of each limit, in whole-model units.
        ValueError: a layer and variant has a cost but no score, or a score that is not finite; or
            the target can run no choice.
    """
    began = time.monotonic()
    model = recipe["asset_key"].split("/")[0]
    problem = read_problem(inputs, recipe)
    swept = batches.sweep(problem, recipe["time_limit"])
    batch, found = batches.best(swept)
    candidates, parent = problem.candidates[batch], problem.parent[batch]
    rows = rows_of(candidates, found)
    tables, images, extra = {}, {}, {}
    if recipe["target"] is not None:
        tables["removed_variants"] = removed_table(model, problem.removed)
        extra["removed"] = float(len(problem.removed))
    if recipe["batches"]:
        tables["batch_sweep"] = batches.sweep_table(model, swept, batch)
    if recipe["solutions"] > 1:
        tables["alternatives"] = _alternatives(model, problem, batch, recipe)
    if recipe["pareto"] is not None:
        tables["pareto"], images["pareto"] = _front(model, problem, batch, found, recipe)
    if recipe["rounds"]:
        rows, tables["rounds"], kl = _rounds(
            workdir, inputs, problem, batch, rows, recipe, execution
        )
        extra["rounds_kl"] = kl
    totals = {
        column: float(sum(row[column] for row in rows))
        for column in (problem.objective, *COSTS)
        if column in candidates.column_names and candidates[column].null_count == 0
    }
    layers = architecture_rows(rows)
    return Output(
        tables={"architectures": architecture_table(model, layers), **tables},
        metrics={
            problem.objective: totals[problem.objective],
            "parameters": totals["parameters"],
            **{
                f"{column}_share": totals[column] / parent[column]
                for column in COSTS
                if parent.get(column) and column in totals
            },
            "attention_free_layers": float(sum(row["attention"] == "noop" for row in layers)),
            "batch": float(batch),
            **_speed(problem, batch, totals),
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


def rows_of(candidates: pa.Table, found: Architecture) -> list[Row]:
    """The candidate rows of an architecture, in layer order."""
    rows = {(tuple(row["layer"]), row["variant"]): row for row in candidates.to_pylist()}
    return [rows[piece] for piece in zip(found.layers, found.choice, strict=True)]


def architecture_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row a layer of chosen candidates: those of a fused run have no attention, the run's FFN
    variant, and in `fused_into` the index of the layer that the run becomes."""
    return [
        {
            "layer": layer,
            "attention": row["attention"],
            "ffn": row["ffn"],
            "fused_into": index if len(row["layer"]) > 1 else None,
        }
        for index, row in enumerate(rows)
        for layer in row["layer"]
    ]


def chosen_rows(candidates: pa.Table, architectures: pa.Table) -> tuple[int, ...]:
    """The row numbers of the candidates that an `architectures` table stands for.

    Raises:
        ValueError: one of its blocks is not a candidate.
    """
    pieces: list[tuple[list[int], str, int | None]] = []
    for row in architectures.sort_by("layer").to_pylist():
        fused = row["fused_into"]
        if fused is not None and pieces and pieces[-1][2] == fused:
            pieces[-1][0].append(row["layer"])
            continue
        attention = row["attention"] if fused is None else "fused"
        pieces.append(([row["layer"]], f"{attention}/{row['ffn']}", fused))
    places = {
        (tuple(layers), variant): place
        for place, (layers, variant) in enumerate(
            zip(candidates["layer"].to_pylist(), candidates["variant"].to_pylist(), strict=True)
        )
    }
    missing = [(layers, name) for layers, name, _ in pieces if (tuple(layers), name) not in places]
    if missing:
        raise ValueError(f"layers {missing[0][0]}: '{missing[0][1]}' is not among the candidates")
    return tuple(places[tuple(layers), name] for layers, name, _ in pieces)


def architecture_table(
    model: str, rows: Sequence[Mapping[str, Any]], fused_into: Sequence[int | None] | None = None
) -> pa.Table:
    """The `architectures` rows of a model, in layer order; `fused_into` in the place of theirs."""
    fused = fused_into or [row.get("fused_into") for row in rows]
    return pa.table(
        {
            "model": [model] * len(rows),
            "layer": pa.array([row["layer"] for row in rows], pa.int64()),
            "attention": [row["attention"] for row in rows],
            "ffn": [row["ffn"] for row in rows],
            "fused_into": pa.array(fused, pa.int64()),
        }
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


def _rounds(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    problem: Problem,
    batch: int,
    rows: Sequence[Row],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> tuple[list[Row], pa.Table, float]:
    """The rows after re-scoring rounds on the share of the corpus that scores blocks."""
    from assets.puzzle.calibration import sequences
    from assets.puzzle.halves import Library
    from assets.puzzle.rounds import improve, kl_with, mean_of, rounds_table
    from resources.models.loading import load

    model = recipe["asset_key"].split("/")[0]
    candidates = problem.candidates[batch]
    program, bounds = read_program(
        candidates, problem.bounds[batch], problem.objective, **problem.rules
    )
    parent = load(inputs["parent"].path(), device=execution.device, dtype="float32")
    data = sequences(
        inputs["corpus"].table("corpus", columns=["text_ids"]),
        "score",
        tokens=recipe["tokens"],
        sequence_length=recipe["sequence_length"],
        seed=recipe["seed"],
    )
    measure = mean_of(
        kl_with(
            Library(parent, [part.path() for part in parts(inputs, "block_library")]),
            data,
            workdir,
            batch=execution.micro_batch,
            progress=execution.progress,
        )
    )
    start = chosen_rows(candidates, architecture_table(model, architecture_rows(rows)))
    found = improve(
        program,
        program.candidates.columns[problem.objective],
        bounds,
        start,
        measure,
        recipe["rounds"],
        time_limit=recipe["time_limit"],
    )
    table = candidates.to_pylist()
    return [table[row] for row in found[-1].rows], rounds_table(model, found), found[-1].kl


def _speed(problem: Problem, batch: int, totals: Mapping[str, float]) -> dict[str, float]:
    if "latency_seconds" not in totals:
        return {}
    return {"throughput": problem.tokens[batch] / totals["latency_seconds"]}
