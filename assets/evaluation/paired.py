"""How two checkpoints differ on the same problems: from their stored answers, nothing else."""

from __future__ import annotations

from resources.benchmarks.intervals import correct_shares, paired_difference
from warehouse.store import Artifact


def change(before: Artifact, after: Artifact, mode: str | None) -> tuple[float, float]:
    """Paired difference of accuracy over the problems that both have answered in `mode` (None:
    benchmarks that leave the toggle alone), and the half-width of its 95 % interval."""
    old, new = results(before, mode), results(after, mode)
    common = sorted(old.keys() & new.keys())
    return paired_difference([old[key] for key in common], [new[key] for key in common])


def results(benchmarks: Artifact, mode: str | None) -> dict[bytes, float]:
    """By problem, the share of judged responses in `mode` that are correct."""
    rows = benchmarks.table("answers", ["problem_id", "reasoning", "verdict"]).to_pylist()
    return correct_shares(
        (row["problem_id"], row["verdict"]) for row in rows if row["reasoning"] == mode
    )
