"""The search problem of a recipe: candidates at every batch to solve, limits and rules as rows.

Turns shares of the parent into bounds, names into rows, and takes out what the target cannot run.
Knows the recipe's search section; costs come from `candidate_costs.py`, solvers it knows not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.puzzle.choice.candidate_costs import CLOCKED, PROFILE, Costing, Seconds
from assets.puzzle.program.rules import Rules, read_program
from assets.puzzle.program.solver import Program
from resources.models.export.limits import NEVER_FIRST

if TYPE_CHECKING:
    from assets.puzzle.choice.target import Candidate
    from warehouse.store import Artifact

Bounds = dict[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class Problem:
    """What is put to the search, for every batch to be solved.

    Attributes:
        objective: the metric to minimise.
        candidates: batch → table of `layer` (list of ints), `variant`, `attention`, `ffn`, the
            metric and the columns of `COSTS` that are known. What the model costs besides its
            blocks stands in the rows of the first layer, of which one is always chosen.
        bounds: batch → column → (least, most), in units of the whole model.
        parent: batch → column → what the parent costs; of `throughput` too, where it is known.
        rules: groups, counts and excluded rows, as the search takes them.
        removed: what the target cannot run: (layer, attention, ffn, reason).
        tokens: batch → tokens generated for a batch of requests; 0 where no seconds are known.
    """

    objective: str
    candidates: dict[int, pa.Table]
    bounds: dict[int, Bounds]
    parent: dict[int, dict[str, float]]
    rules: Rules
    removed: list[tuple[int, str, str, str]] = field(default_factory=list)
    tokens: dict[int, int] = field(default_factory=dict)

    def program(self, batch: int) -> tuple[Program, dict[str, tuple[float, float]]]:
        """The problem at a batch in the form that is solved; limits as (lower, upper) pairs."""
        return read_program(
            self.candidates[batch], self.bounds[batch], self.objective, **self.rules
        )


def read_problem(inputs: Mapping[str, Artifact], recipe: Mapping[str, Any]) -> Problem:
    """The problem in artifacts: block_scores, block_costs, cost_profile if any, and the parent
    where a target or fused runs ask for its sizes. Errors as of `make_problem`."""
    scores, costs = inputs["block_scores"], inputs["block_costs"]
    profile = inputs.get("cost_profile")
    runs = scores.table("run_scores") if "run_scores" in scores.manifest["tables"] else None
    shape = None
    if recipe["target"] is not None or runs is not None:
        from resources.models.accounting import Shape
        from resources.models.loading import read_config

        shape = Shape.of(read_config(inputs["parent"].path()).to_dict())
    return make_problem(
        recipe,
        scores.table("block_scores"),
        costs.table("block_costs"),
        costs.table("non_block_costs").to_pylist()[0],
        profile=None if profile is None else {name: profile.table(name) for name in PROFILE},
        runs=runs,
        shape=shape,
    )


def make_problem(
    recipe: Mapping[str, Any],
    scores: pa.Table,
    costs: pa.Table,
    rest: Mapping[str, Any],
    *,
    profile: Mapping[str, pa.Table] | None = None,
    runs: pa.Table | None = None,
    shape: Any = None,
) -> Problem:
    """The problem in tables.

    Shares are of the parent at the batch of the costs, whatever batch is solved: they stand for
    one machine and one promise to its users.

    Args:
        recipe: the search section.
        rest: what the model costs besides its blocks.
        profile: the tables named in `costing.PROFILE`, of a cost profile.
        runs: table `run_scores`.
        shape: the parent's sizes, needed for runs and where the recipe names a target.

    Raises:
        ValueError: a candidate without score or seconds, a limit on an unknown column, or a target
            that can run no choice.
    """
    metric, limits = recipe["objective"], recipe["limits"]
    seconds = None if profile is None else Seconds(profile, recipe["target"])
    costing = Costing(scores, costs, rest, metric, seconds)
    batches = list(recipe["batches"]) or [costing.batch]
    column = (recipe["pareto"] or {}).get("column")
    timed = column in CLOCKED or any(name in CLOCKED for name in limits)
    shares = {name: limit for name, limit in limits.items() if not isinstance(limit, Mapping)}
    parent = {batch: costing.parent(batch, timed=timed) for batch in batches}
    whole: dict[str, float] = {}
    if shares:
        whole = costing.parent(costing.batch, timed=any(name in CLOCKED for name in shares))
    removed = _removed(recipe["target"], costing, shape)
    scored = None if runs is None else runs.filter(pc.equal(runs["metric"], metric))
    candidates = {
        batch: costing.with_runs(costing.at(batch, timed=timed), batch, scored, shape)
        for batch in batches
    }
    return Problem(
        objective=metric,
        candidates=candidates,
        bounds={
            batch: bounds(limits, parent[batch] | whole, tokens=costing.tokens(batch))
            for batch in batches
        },
        parent=parent,
        rules=_rules(recipe, candidates[batches[0]], removed),
        removed=removed,
        tokens={batch: costing.tokens(batch) for batch in batches},
    )


def _removed(target: Any, costing: Costing, shape: Any) -> list[tuple[int, str, str, str]]:
    """What the target cannot run: layer, attention, FFN and why; nothing without a target."""
    if target is None:
        return []
    from assets.puzzle.choice.target import unrunnable

    names = (costing.base[name].to_pylist() for name in ("layer", "attention", "ffn"))
    return unrunnable(target, shape, zip(*names, strict=True))


def _rules(
    recipe: Mapping[str, Any], candidates: pa.Table, removed: Sequence[tuple[int, str, str, str]]
) -> Rules:
    """What `search` takes besides candidates and limits."""
    gone = {(layer, attention, ffn) for layer, attention, ffn, _ in removed}
    return {
        "groups": [list(range(first, last + 1)) for first, last in recipe["groups"]],
        "max_noops": recipe["max_noops"],
        "max_distinct": recipe["max_distinct"],
        "forbidden": ruled_out(candidates, recipe["fixed"], recipe["forbidden"], gone),
    }


def bounds(limits: Mapping[str, Any], parent: Mapping[str, float], *, tokens: int = 0) -> Bounds:
    """The recipe's limits as (least, most): a number is a share of the parent's total.

    A throughput of at least r tokens a second is a latency of at most `tokens` / r: that many are
    generated in the time of one batch. As a number it is the least multiple of the parent's.

    Raises:
        ValueError: a limit on a column that has no values for the parent.
    """
    result: Bounds = {}
    for column, limit in limits.items():
        share = not isinstance(limit, Mapping)
        known = "latency_seconds" if column == "throughput" else column
        if known not in parent or (share and column not in parent):
            raise ValueError(
                f"limit on {column}: block costs have no value of it for the parent; measure it "
                f"(costs.profile) or limit one of {sorted(parent)}"
            )
        if column != "throughput":
            most = _share(limit, parent[column]) if share else limit["max"]
            pair = (None if share else limit["min"], most)
        else:
            least = limit * parent[column] if share else limit["min"]
            most = None if share else limit["max"]
            pair = (tokens / most if most else None, tokens / least if least else None)
        result[known] = _both(result.get(known, (None, None)), pair)
    return result


def _share(share: float, whole: float) -> float:
    """A share as it is written of a whole: exact where that is a whole number.

    >>> 0.7 * 23040, _share(0.7, 23040), _share(0.1, 0.5)
    (16127.999999999998, 16128.0, 0.05)
    """
    exact = Fraction(str(share)) * Fraction(whole)
    return float(exact) if exact.denominator == 1 else share * whole


def _both(
    one: tuple[float | None, float | None], other: tuple[float | None, float | None]
) -> tuple[float | None, float | None]:
    lows = [pair[0] for pair in (one, other) if pair[0] is not None]
    highs = [pair[1] for pair in (one, other) if pair[1] is not None]
    return (max(lows, default=None), min(highs, default=None))


def ruled_out(
    candidates: pa.Table,
    fixed: Sequence[Mapping[str, Any]],
    forbidden: Sequence[Mapping[str, Any]],
    removed: set[Candidate],
) -> list[tuple[int, str]]:
    """(layer, variant) pairs that the rules exclude: all that do not match a fixed rule of their
    layer, all that match a forbidden one or are `removed`, and those that no model begins with.

    A run's row is what it does to each of its layers: no attention, and the FFN it names.
    """
    never = [NEVER_FIRST, *forbidden]
    pairs: dict[tuple[int, str], None] = {}
    for row in candidates.select(["layer", "variant", "attention", "ffn"]).to_pylist():
        for layer in row["layer"]:
            at = {**row, "layer": layer}
            if (
                (layer, row["attention"], row["ffn"]) in removed
                or any(_matches(rule, at) for rule in never)
                or any(rule["layer"] == layer and not _matches(rule, at) for rule in fixed)
            ):
                pairs[layer, row["variant"]] = None
    return list(pairs)


def _matches(rule: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return all(
        rule.get(name) is None or rule[name] == row[name] for name in ("layer", "attention", "ffn")
    )
