"""The choice by measurement: what sums of scores propose and what a person would cut, judged by
true KL.

Sums of single-block scores add up badly on real parents, so they only propose: the optimum and its
diverse neighbours, re-scored steps from the parent, hand cuts, baselines, and the best of all these
improved in rounds. Knows programs and measures; knows no models and no recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from assets.puzzle.choice.rounds import Measure, Rows, improve
from assets.puzzle.program.solver import Program

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("method", pa.string()),
        ("objective", pa.float64()),
        ("kl", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("parameters", pa.int64()),
        ("chosen", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class Tried:
    """A candidate architecture: what proposed it, the sum of its scores, its true KL `[N]`."""

    method: str
    rows: Rows
    objective: float
    kl: np.ndarray

    @property
    def mean(self) -> float:
        """Its true KL, nats a token."""
        return float(self.kl.mean())


def choose(
    program: Program,
    scores: np.ndarray,
    bounds: dict[str, tuple[float, float]],
    proposed: Mapping[str, Rows],
    rough: Measure,
    exact: Measure,
    *,
    rounds: int,
    improved: int,
    known: np.ndarray | None = None,
    time_limit: float | None = None,
) -> list[Tried]:
    """All candidates, the best by true KL first; equal ones stand under the first name alone.

    Args:
        proposed: method → rows that keep the limits.
        rough: mean true KL on the few tokens that score single changes.
        exact: true KL of each sequence `[n, N]` of the tokens that decide.
        rounds: of re-scoring, on each of the `improved` best candidates.
        known: the parent's replace-1-block scores, as `improve` takes them.

    Raises:
        ValueError: nothing is proposed.
    """
    if not proposed:
        raise ValueError("no candidate keeps the limits")
    distinct: dict[Rows, str] = {}
    for method, rows in proposed.items():
        distinct.setdefault(rows, method)
    tried = _judged(program, scores, distinct, exact, "proposed")
    better: dict[Rows, str] = {}
    for number, start in enumerate(tried[:improved] if rounds else []):
        found = improve(
            program,
            scores,
            bounds,
            start.rows,
            _under(rough, f"improved_{number}"),
            rounds,
            known=known,
            time_limit=time_limit,
        )
        if found[-1].rows not in distinct:
            better.setdefault(found[-1].rows, f"{start.method}, improved")
    return sorted(
        [*tried, *_judged(program, scores, better, exact, "improved")], key=lambda each: each.mean
    )


def _under(measure: Measure, prefix: str) -> Measure:
    """The measure with its names apart from those of others."""
    return lambda assemblies, name: measure(assemblies, f"{prefix}_{name}")


def measured_table(
    model: str,
    program: Program,
    tried: Sequence[Tried],
    intervals: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> pa.Table:
    """The `measured_choices` rows of a model: sum and truth of every candidate, the best first."""
    low, high = intervals(np.stack([each.kl for each in tried]))
    rows = [
        {
            "model": model,
            "method": each.method,
            "objective": each.objective,
            "kl": each.mean,
            "ci_low": float(low[place]),
            "ci_high": float(high[place]),
            "parameters": int(program.candidates.total("parameters", each.rows)),
            "chosen": not place,
        }
        for place, each in enumerate(tried)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _judged(
    program: Program,
    scores: np.ndarray,
    named: Mapping[Rows, str],
    exact: Measure,
    name: str,
) -> list[Tried]:
    if not named:
        return []
    values = exact([program.candidates.pieces(rows) for rows in named], name)
    found = [
        Tried(method, rows, math.fsum(scores[list(rows)]), kl)
        for (rows, method), kl in zip(named.items(), values, strict=True)
    ]
    return sorted(found, key=lambda each: each.mean)
