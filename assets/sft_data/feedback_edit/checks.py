"""Checks of Feedback-Edit: every draft has its feedback, every feedback its edit, and a choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from warehouse.store import Artifact, CheckResult

MOST_UNDECIDED = 0.5  # of the choices asked for: more says that the selector sees no difference
MOST_USELESS = 0.1  # of feedback or edits: more says that prompt or limit do not fit the model


def every_draft_given_feedback(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """There is feedback, equally often on every draft."""
    times = artifact.manifest["recipe"]["feedbacks"]
    table = artifact.table("feedback", ["generation_id"])
    counts = Counter(table["generation_id"].to_pylist())
    wrong = [one for one, count in counts.items() if count != times]
    return CheckResult(
        name="every_draft_given_feedback",
        passed=bool(counts) and not wrong,
        description=f"{table.num_rows} feedbacks on {len(counts)} drafts, {times} each; "
        f"{len(wrong)} have another number",
    )


def few_useless_feedbacks(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Nearly all feedback is of use. Not blocking: the other is given to nobody."""
    return _useful("few_useless_feedbacks", artifact, "feedback")


def every_feedback_edited(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Each feedback that is of use has one edit."""
    given = inputs["feedback"].table("feedback", ["row_id", "fault"]).to_pylist()
    due = sorted(row["row_id"] for row in given if row["fault"] is None)
    made = sorted(artifact.table("edits", ["feedback_id"])["feedback_id"].to_pylist())
    return CheckResult(
        name="every_feedback_edited",
        passed=made == due,
        description=f"{len(made)} edits by {len(due)} feedbacks of use, of {len(given)}",
    )


def few_useless_edits(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Nearly all edits are candidates. Not blocking: the others are never chosen."""
    return _useful("few_useless_edits", artifact, "edits")


def every_draft_has_a_choice(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Each draft that was given feedback has one choice."""
    given = inputs["feedback"].table("feedback", ["generation_id"])["generation_id"].to_pylist()
    made = artifact.table("choices", ["generation_id"])["generation_id"].to_pylist()
    return CheckResult(
        name="every_draft_has_a_choice",
        passed=sorted(made) == sorted(set(given)),
        description=f"{len(made)} choices on {len(set(given))} drafts",
    )


def choice_decides(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Most choices that were asked for are made. Not blocking: without one the draft stays."""
    counts = Counter(artifact.table("choices", ["outcome"])["outcome"].to_pylist())
    asked = counts.total() - counts["no edit"]
    share = counts["undecided"] / max(asked, 1)
    return CheckResult(
        name="choice_decides",
        passed=share <= MOST_UNDECIDED,
        description=f"{share:.1%} of {asked} choices are undecided; at most {MOST_UNDECIDED:.0%} "
        "expected",
        metadata=dict(counts),
        blocking=False,
    )


def _useful(name: str, artifact: Artifact, table: str) -> CheckResult:
    counts = Counter(artifact.table(table, ["fault"])["fault"].to_pylist())
    faults = {str(why): count for why, count in counts.items() if why is not None}
    share = sum(faults.values()) / max(counts.total(), 1)
    return CheckResult(
        name=name,
        passed=share <= MOST_USELESS,
        description=f"{share:.1%} of {counts.total()} are of no use; at most {MOST_USELESS:.0%} "
        "expected",
        metadata=faults,
        blocking=False,
    )
