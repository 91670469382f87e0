"""Checks of the recovered checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

from resources.training.checks import not_worse
from warehouse.store import Artifact, CheckResult


def kl_not_worse(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Distillation left the held-out divergence from the parent no larger than it found it."""
    direction = artifact.manifest["recipe"]["direction"]
    return not_worse(artifact, f"kl_{direction}")


def cross_entropy_not_worse(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Continued pretraining left the held-out cross-entropy no larger than it found it."""
    return not_worse(artifact, "cross_entropy")


def outputs_are_probabilities(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """In every row, what the top k leave over is a share of one; all tokens are there."""
    import pyarrow.compute as pc

    table = artifact.table("teacher_outputs", columns=["tokens", "rest"])
    tokens = pc.sum(table.column("tokens")).as_py() or 0
    rest = table.column("rest")
    bad = pc.sum(pc.invert(pc.and_(pc.greater_equal(rest, 0), pc.less_equal(rest, 1)))).as_py() or 0
    wanted = int(artifact.metrics["tokens"])
    return CheckResult(
        name="outputs_are_probabilities",
        passed=tokens == wanted and not bad,
        description=f"{tokens} of {wanted} tokens; {bad} rows whose rest is no probability",
        metadata={"tokens": tokens, "rows": table.num_rows, "bad_rows": bad},
    )
