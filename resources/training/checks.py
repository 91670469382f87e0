"""Checks that every trained artifact shares, on its metrics and its `training_metrics` table."""

from __future__ import annotations

import math
from collections.abc import Mapping

from warehouse.store import Artifact, CheckResult


def loss_finite(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every logged value is finite, and there is at least one step."""
    table = artifact.table("training_metrics")
    bad = [row for row in table.to_pylist() if not math.isfinite(row["value"])]
    where = f"; the first is {bad[0]['metric']} at step {bad[0]['step']}" if bad else ""
    return CheckResult(
        name="loss_finite",
        passed=table.num_rows > 0 and not bad,
        description=f"{table.num_rows} logged values, {len(bad)} not finite{where}",
        metadata={"values": table.num_rows, "not_finite": len(bad)},
    )


def loss_decreased(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The loss of the last tenth of the steps is below that of the first tenth; a warning."""
    first, last = artifact.metrics["loss_first"], artifact.metrics["loss_last"]
    return CheckResult(
        name="loss_decreased",
        passed=last < first,
        description=f"training loss {first:.4g} -> {last:.4g}",
        metadata={"first": first, "last": last},
        blocking=False,
    )


def not_worse(artifact: Artifact, metric: str) -> CheckResult:
    """`held_out_<metric>` (lower is better) is not above its value before training; a warning."""
    after = artifact.metrics[f"held_out_{metric}"]
    before = artifact.metrics[f"held_out_{metric}_before"]
    return CheckResult(
        name=f"held_out_{metric}_not_worse",
        passed=after <= before,
        description=f"held-out {metric.replace('_', ' ')} {before:.4g} -> {after:.4g}",
        metadata={"before": before, "after": after},
        blocking=False,
    )
