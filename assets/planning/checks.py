"""Checks of the training plans: complete, and each stage fits where it is to run."""

from __future__ import annotations

from collections.abc import Mapping

from warehouse.store import Artifact, CheckResult

Inputs = Mapping[str, Artifact]


def plan_complete(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """Every stage of the recipe has one row with positive tokens, operations and bytes."""
    wanted = [work["stage"] for work in artifact.manifest["recipe"]["works"]]
    rows = artifact.table("training_plans").sort_by("position").to_pylist()
    bad = [row["stage"] for row in rows if min(row["tokens"], row["flops"], row["total_bytes"]) < 1]
    return CheckResult(
        "plan_complete",
        passed=[row["stage"] for row in rows] == wanted and not bad,
        description=f"{len(rows)} of {len(wanted)} stages planned; empty: "
        f"{', '.join(bad) or 'none'}",
    )


def training_fits(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """Each stage fits into the hardware that the recipe names; a warning with what would help."""
    rows = artifact.table("training_plans").sort_by("position").to_pylist()
    refusals = [row["refusal"] for row in rows if row["refusal"]]
    most = max(row["total_bytes"] for row in rows) / 1e9
    named = rows[0]["hardware"]
    where = f" on {rows[0]['ranks']} x {named}" if named else "; the recipe names no hardware"
    return CheckResult(
        "training_fits",
        passed=not refusals,
        description=" ".join(refusals) or f"at most {most:,.3g} GB a rank{where}",
        blocking=False,
    )
