"""Checks of problem sets and of the corpus."""

from __future__ import annotations

from collections.abc import Mapping

from warehouse.store import Artifact, CheckResult


def not_empty(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The table has rows."""
    return CheckResult(
        name="not_empty", passed=artifact.rows > 0, description=f"{artifact.rows} rows"
    )


def distinct_questions(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """No question stands twice."""
    questions = artifact.table("problems", columns=["question"]).column("question")
    twice = len(questions) - questions.combine_chunks().unique().__len__()
    return CheckResult(
        name="distinct_questions", passed=twice == 0, description=f"{twice} questions come again"
    )


def nothing_held_out(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every row is for training."""
    return _split(artifact, "train", "nothing_held_out")


def all_held_out(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every row is for measurement."""
    return _split(artifact, "held_out", "all_held_out")


def _split(artifact: Artifact, wanted: str, name: str) -> CheckResult:
    splits = artifact.table("problems", columns=["split"]).column("split").to_pylist()
    other = sum(split != wanted for split in splits)
    return CheckResult(
        name=name, passed=other == 0, description=f"{other} of {len(splits)} rows are not {wanted}"
    )
