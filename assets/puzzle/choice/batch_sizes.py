"""Several batch sizes: the search is solved for each, and the best objective is taken.

A larger batch asks for more memory and gives more tokens a second, so that the best one lies
between (Puzzle, arXiv 2411.19146 §3). Knows problems by batch; knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from assets.puzzle.choice.problem import Problem
from assets.puzzle.search import Architecture, InfeasibleError, search


@dataclass(frozen=True)
class Swept:
    """One batch: the architecture, or where none keeps the limits, the reachable values of them
    and the message that says so."""

    batch: int
    found: Architecture | None
    tightest: dict[str, float]
    message: str


def sweep(problem: Problem, time_limit: float | None = None) -> list[Swept]:
    """The search at every batch of a problem, in order; errors as of `search`, but infeasible
    batches are told, not raised. `time_limit` holds for each."""
    results = []
    for batch, candidates in problem.candidates.items():
        try:
            found = search(
                candidates,
                problem.bounds[batch],
                problem.objective,
                time_limit=time_limit,
                **problem.rules,
            )
        except InfeasibleError as error:
            tightest = dict(error.tightest)
            if "latency_seconds" in tightest:
                tightest["throughput"] = problem.tokens[batch] / tightest["latency_seconds"]
            results.append(Swept(batch, None, tightest, str(error)))
        else:
            results.append(Swept(batch, found, {}, ""))
    return results


def best(results: Sequence[Swept]) -> tuple[int, Architecture]:
    """The batch with the least objective and its architecture; the largest of equal ones, which
    serves more requests at once.

    Raises:
        InfeasibleError: no batch keeps the limits; `.tightest` names the batch where several were
            tried.
    """
    found = [(each.found, each.batch) for each in results if each.found is not None]
    if found:
        architecture, batch = min(found, key=lambda each: (each[0].objective, -each[1]))
        return batch, architecture
    if len(results) == 1:
        raise InfeasibleError(results[0].message, results[0].tightest)
    raise InfeasibleError(
        "; ".join(f"batch {each.batch}: {each.message}" for each in results),
        {
            f"{column} (batch {each.batch})": value
            for each in results
            for column, value in each.tightest.items()
        },
    )


def sweep_table(model: str, results: Sequence[Swept], chosen: int) -> pa.Table:
    """The `batch_sweep` rows of a model: objective (null where nothing is feasible), and what
    could be reached there."""
    return pa.table(
        {
            "model": [model] * len(results),
            "batch": pa.array([each.batch for each in results], pa.int64()),
            "objective": pa.array(
                [None if each.found is None else each.found.objective for each in results],
                pa.float64(),
            ),
            "feasible": [each.found is not None for each in results],
            "proven": pa.array(
                [None if each.found is None else each.found.proven for each in results], pa.bool_()
            ),
            "chosen": [each.batch == chosen for each in results],
            "reachable": [
                ", ".join(f"{column} {value:.6g}" for column, value in each.tightest.items())
                for each in results
            ],
        }
    )
