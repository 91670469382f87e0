"""What the search's answer becomes where whole models are measured: re-scored, or judged by truth.

Opens parent, library and corpus once for all that is measured. Knows artifacts and the recipe's
search section; candidates are proposed and improved by `rounds`, `cuts` and `measured`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.puzzle.calibration import deciding, scoring
from assets.puzzle.choice import baselines
from assets.puzzle.choice.cuts import Rows, by_influence, contiguous, parent_rows
from assets.puzzle.choice.problem import Problem
from assets.puzzle.choice.tables import architecture_rows, architecture_table, chosen_rows, rows_of
from assets.puzzle.intervals import intervals
from assets.puzzle.program.solver import Program, violations
from assets.puzzle.search import search_many
from warehouse.store import Artifact

if TYPE_CHECKING:
    from assets.puzzle.calibration import Sequences
    from assets.puzzle.choice.rounds import Measure
    from assets.puzzle.halves import Library
    from resources.execution import Execution


@dataclass(frozen=True)
class Rescored:
    """The rows that measurement chose, and what there is to tell of it."""

    rows: Rows
    tables: dict[str, pa.Table] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


def rescored(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    problem: Problem,
    batch: int,
    start: Rows,
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Rescored:
    """The choice after measurement on the share of the corpus that scores blocks.

    With the recipe's `measured` section true KL decides among many candidates, else `rounds` of
    re-scoring improve the search's answer `start`.
    """
    from assets.puzzle.choice.rounds import improve, mean_of, rounds_table
    from assets.puzzle.opening import open_library

    model = recipe["model"]
    program, bounds = problem.program(batch)
    library = open_library(inputs, recipe, execution.device)
    data = scoring(inputs["corpus"], recipe)
    rough = mean_of(_measure(library, data, workdir, execution))
    if recipe.get("measured"):
        return _judged(
            _Bench(workdir, inputs, library, data, rough, execution),
            _Task(model, problem, batch, program, bounds),
            start,
            recipe,
        )
    found = improve(
        program,
        program.candidates.columns[problem.objective],
        bounds,
        start,
        rough,
        recipe["rounds"],
        time_limit=recipe["time_limit"],
    )
    last = found[-1]
    return Rescored(last.rows, {"rounds": rounds_table(model, found)}, {"rounds_kl": last.kl})


@dataclass(frozen=True)
class _Bench:
    """What measures: the parent's library, and the few tokens that score single changes."""

    workdir: Path
    inputs: Mapping[str, Artifact]
    library: Library
    data: Sequences
    rough: Measure
    execution: Execution

    @property
    def parts(self) -> list[Measure]:
        """True KL on each batch of these tokens alone."""
        from assets.puzzle.choice.rounds import kl_by_part

        return kl_by_part(
            self.library,
            self.data,
            self.workdir,
            batch=self.execution.micro_batch,
            progress=self.execution.progress,
        )


@dataclass(frozen=True)
class _Task:
    """What is to be chosen, and its program's form."""

    model: str
    problem: Problem
    batch: int
    program: Program
    bounds: dict[str, tuple[float, float]]

    @property
    def scores(self) -> np.ndarray:
        """The objective of every row."""
        return self.program.candidates.columns[self.problem.objective]

    @property
    def known(self) -> np.ndarray | None:
        """The parent's replace-1-block scores, where they are what the steps measure: KL."""
        return self.scores if self.problem.objective == "kl" else None


def _judged(bench: _Bench, task: _Task, start: Rows, recipe: Mapping[str, Any]) -> Rescored:
    from assets.puzzle.choice.measured import choose, measured_table

    measured, seed = recipe["measured"], recipe["seed"]
    exact = _measure(
        bench.library,
        deciding(bench.inputs["corpus"], recipe, measured["tokens"]),
        bench.workdir / "judged",
        bench.execution,
    )
    tried = choose(
        task.program,
        task.scores,
        task.bounds,
        _proposals(bench, task, start, recipe),
        bench.rough,
        exact,
        rounds=recipe["rounds"],
        improved=measured["improved"],
        known=task.known,
        time_limit=recipe["time_limit"],
    )
    table = measured_table(task.model, task.program, tried, lambda kl: intervals(kl, seed))
    best = table.slice(0, 1).to_pylist()[0]
    return Rescored(
        tried[0].rows,
        {"measured_choices": table},
        {"measured_kl": best["kl"], "predicted_kl": best["objective"]},
    )


def _proposals(
    bench: _Bench, task: _Task, start: Rows, recipe: Mapping[str, Any]
) -> dict[str, Rows]:
    """Method → rows within the limits, of all that is tried."""
    from assets.puzzle.choice.influence import influence
    from assets.puzzle.choice.rounds import descend

    candidates = task.problem.candidates[task.batch]
    found: dict[str, Rows | None] = {"search": start}
    diverse = search_many(
        candidates,
        task.problem.bounds[task.batch],
        task.problem.objective,
        k=recipe["solutions"],
        min_distance=recipe["min_distance"],
        time_limit=recipe["time_limit"],
        **task.problem.rules,
    )
    for rank, each in enumerate(diverse[1:], 2):
        rows = architecture_rows(rows_of(candidates, each))
        found[f"search, {rank}"] = chosen_rows(candidates, architecture_table(task.model, rows))
    steps = descend(
        task.program,
        task.scores,
        task.bounds,
        parent_rows(task.program),
        bench.rough,
        recipe["measured"]["steps"],
        known=task.known,
        time_limit=recipe["time_limit"],
    )
    found["re-scored steps"] = steps[-1].rows
    found["depth by influence"] = by_influence(
        task.program, task.bounds, influence(bench.library.parent, bench.data)
    )
    found["contiguous depth"] = contiguous(task.program, task.bounds, bench.parts)
    given = (candidates, task.problem.bounds[task.batch], task.problem.objective)
    found["marginal greedy"] = baselines.marginal_greedy(*given, **task.problem.rules)
    found["paper greedy"] = baselines.paper_greedy(*given, **task.problem.rules)
    found["best uniform"] = baselines.best_uniform(*given, **task.problem.rules)
    return {
        method: rows
        for method, rows in found.items()
        if rows is not None and not violations(task.program, rows, task.bounds)
    }


def _measure(library: Library, data: Sequences, folder: Path, execution: Execution) -> Measure:
    from assets.puzzle.choice.rounds import kl_with

    return kl_with(library, data, folder, batch=execution.micro_batch, progress=execution.progress)
