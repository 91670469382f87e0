"""From scores and costs to an architecture: the recipe's limits and rules put to the search.

Joins the two tables, turns shares of the parent into bounds and names into rows, and writes the
choice down. Knows tables and the recipe's search section; the search itself is in `search.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.puzzle.search import Architecture, search
from warehouse.store import Artifact, Output

COSTS = (
    "parameters",
    "weight_bytes",
    "kv_bytes_per_token",
    "activation_bytes",
    "memory_bytes",
    "prefill_seconds",
    "decode_seconds",
)


def choose_architecture(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """Table `architectures` (a row a layer): the least objective within the recipe's limits.

    Inputs: block_scores, block_costs. Recipe: the search section. The first layer always keeps
    an attention: engines create the residual stream there.

    Raises:
        InfeasibleError: with the reachable value of each limit, in whole-model units.
        ValueError: a layer and variant has a cost but no score, or a score that is not finite.
    """
    began = time.monotonic()
    scores = inputs["block_scores"].table("block_scores")
    costs = inputs["block_costs"].table("block_costs")
    rest = inputs["block_costs"].table("non_block_costs").to_pylist()[0]
    candidates = join(scores, costs, rest, recipe["objective"])
    parent = parent_totals(candidates)
    found = search(
        candidates,
        bounds(recipe["limits"], parent),
        recipe["objective"],
        forbidden=ruled_out(candidates, recipe["fixed"], recipe["forbidden"]),
        max_noops=recipe["max_noops"],
        max_distinct=recipe["max_distinct"],
        time_limit=recipe["time_limit"],
    )
    model = recipe["asset_key"].split("/")[0]
    rows = chosen(candidates, found)
    shares = {
        f"{column}_share": float(found.totals[column] / parent[column])
        for column in COSTS
        if parent.get(column) and found.totals[column] == found.totals[column]
    }
    return Output(
        tables={"architectures": architecture_table(model, rows)},
        metrics={
            recipe["objective"]: found.objective,
            "parameters": float(found.totals["parameters"]),
            **shares,
            "attention_free_layers": float(sum(row["attention"] == "noop" for row in rows)),
            "gap": found.gap,
            "proven": float(found.proven),
        },
        observations={
            "seconds": time.monotonic() - began,
            "solver": found.solver,
            "candidates": candidates.num_rows,
        },
        images={"architecture": strip(model, rows, candidates)},
    )


def join(scores: pa.Table, costs: pa.Table, rest: Mapping[str, Any], metric: str) -> pa.Table:
    """Candidates for the search: layer, variant (`attention/ffn`), the metric and the costs.

    What the model costs besides its blocks (`rest`) is added to each candidate of the first layer,
    of which one is always chosen, so that totals and limits are those of the whole model.

    Raises:
        ValueError: a candidate with a cost but without a score.
    """
    wanted = scores.filter(pc.equal(scores["metric"], metric))
    values = {
        (row["layer"], row["attention"], row["ffn"]): row["value"]
        for row in wanted.select(["layer", "attention", "ffn", "value"]).to_pylist()
    }
    rows = []
    for cost in costs.to_pylist():
        key = (cost["layer"], cost["attention"], cost["ffn"])
        if key not in values:
            raise ValueError(
                f"layer {key[0]}, variant '{key[1]}/{key[2]}' has a cost but no {metric} score; "
                "score it, or leave it out of the costs"
            )
        row = {
            "layer": cost["layer"],
            "variant": f"{cost['attention']}/{cost['ffn']}",
            "attention": cost["attention"],
            "ffn": cost["ffn"],
            metric: values[key],
        }
        for column in COSTS:
            value = cost[column]
            extra = rest.get(column) or 0
            row[column] = value if value is None or cost["layer"] else value + extra
        rows.append(row)
    measured = [("prefill_seconds", pa.float64()), ("decode_seconds", pa.float64())]
    table = pa.Table.from_pylist(rows)
    for name, kind in measured:
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table[name].cast(kind))
    return table


def parent_totals(candidates: pa.Table) -> dict[str, float]:
    """What the whole parent costs, by column; unmeasured columns are left out."""
    full = candidates.filter(pc.equal(candidates["variant"], "full/full"))
    totals = {}
    for column in COSTS:
        if full.num_rows and full[column].null_count == 0:
            totals[column] = pc.sum(full[column]).as_py()
    return totals


def bounds(
    limits: Mapping[str, Any], parent: Mapping[str, float]
) -> dict[str, tuple[float | None, float]]:
    """The recipe's limits as (lower, upper): a number is a share of the parent's total.

    Raises:
        ValueError: a limit on a column that has no values for the parent.
    """
    result: dict[str, tuple[float | None, float]] = {}
    for column, limit in limits.items():
        if isinstance(limit, Mapping):
            result[column] = (limit.get("min"), limit["max"])
            continue
        if column not in parent:
            raise ValueError(
                f"limit on {column}: block costs have no value of it for the parent; "
                f"measure it or limit one of {sorted(parent)}"
            )
        result[column] = (None, limit * parent[column])
    return result


def ruled_out(
    candidates: pa.Table, fixed: Sequence[Mapping[str, Any]], forbidden: Sequence[Mapping[str, Any]]
) -> list[tuple[int, str]]:
    """(layer, variant) pairs that the rules exclude: all that do not match a fixed rule of their
    layer, all that match a forbidden one, and those that leave the first layer without attention.
    """
    never = [{"layer": 0, "attention": "noop"}, *forbidden]
    pairs = []
    for row in candidates.select(["layer", "variant", "attention", "ffn"]).to_pylist():
        excluded = any(_matches(rule, row) for rule in never) or any(
            rule["layer"] == row["layer"] and not _matches(rule, row) for rule in fixed
        )
        if excluded:
            pairs.append((row["layer"], row["variant"]))
    return pairs


def _matches(rule: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return all(
        rule.get(name) is None or rule[name] == row[name] for name in ("layer", "attention", "ffn")
    )


def chosen(candidates: pa.Table, found: Architecture) -> list[dict[str, Any]]:
    """The candidate rows of an architecture, in layer order."""
    rows = {(row["layer"], row["variant"]): row for row in candidates.to_pylist()}
    return [
        rows[(layers[0], variant)]
        for layers, variant in zip(found.layers, found.choice, strict=True)
    ]


def architecture_table(
    model: str, rows: Sequence[Mapping[str, Any]], fused_into: Sequence[int | None] | None = None
) -> pa.Table:
    """The `architectures` rows of a model, in layer order."""
    return pa.table(
        {
            "model": [model] * len(rows),
            "layer": pa.array([row["layer"] for row in rows], pa.int64()),
            "attention": [row["attention"] for row in rows],
            "ffn": [row["ffn"] for row in rows],
            "fused_into": pa.array(fused_into or [None] * len(rows), pa.int64()),
        }
    )


def strip(model: str, rows: Sequence[Mapping[str, Any]], candidates: pa.Table) -> bytes:
    """The architecture as a picture: shares of the parent's KV bytes and of its FFN, by layer."""
    from assets.puzzle.pictures import architecture_strip

    full = {
        row["layer"]: row
        for row in candidates.to_pylist()
        if (row["attention"], row["ffn"]) == ("full", "full")
    }
    attention = [
        row["kv_bytes_per_token"] / max(full[row["layer"]]["kv_bytes_per_token"], 1) for row in rows
    ]
    return architecture_strip(
        f"{model}: attention (KV heads) and FFN (width) kept, share of the parent",
        attention,
        [ffn_share(row["ffn"]) for row in rows],
    )


def ffn_share(variant: str) -> float:
    """The share of the parent's FFN width a variant name stands for; a linear one counts as 0."""
    if variant == "full":
        return 1.0
    return float(variant.removeprefix("ratio_")) / 100 if variant.startswith("ratio_") else 0.0
