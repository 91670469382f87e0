"""Checks of the blends and the fine-tuned checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from resources.tasks.held_out import first_places, text_key
from resources.training.checks import not_worse
from warehouse.store import Artifact, CheckResult

HELD_OUT = "held_out"
FILLED = 0.99  # of the room in packs, at least


def cross_entropy_not_worse(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Fine-tuning left the held-out cross-entropy no larger than it found it."""
    return not_worse(artifact, "cross_entropy")


def packs_filled(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Packed samples fill 99 % of their sequences; a warning.

    Less means that `sequence_length` holds too few samples for lengths to add up. Rows are as wide
    as what they hold, so the room left costs evenness of the steps, not padding.
    """
    fill = artifact.metrics.get("pack_fill")
    return CheckResult(
        name="packs_filled",
        passed=fill is None or fill >= FILLED,
        description="not packed" if fill is None else f"packs are filled to {fill:.2%}",
        metadata={} if fill is None else {"fill": fill},
        blocking=False,
    )


def no_empty_domain(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every domain and mode that the stage weighs has samples in the blend."""
    table = artifact.table("blends", columns=["domain", "reasoning"])
    pairs = zip(*(table.column(c).to_pylist() for c in ("domain", "reasoning")), strict=True)
    counts = Counter(pairs)
    recipe = artifact.manifest["recipe"]
    empty = [
        f"{domain} ({mode})"
        for domain, weight in recipe["domains"].items()
        for mode in recipe["reasoning"][domain]
        if weight > 0 and not counts[domain, mode]
    ]
    return CheckResult(
        name="no_empty_domain",
        passed=not empty,
        description=f"{table.num_rows} samples; empty: {', '.join(empty) or 'none'}",
        metadata={f"{domain}_{mode}": n for (domain, mode), n in sorted(counts.items())},
    )


def no_held_out_overlap(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """No blended sample descends from a held-out problem, by row id or by the question's text."""
    held_out = inputs[HELD_OUT].table("problems", columns=["row_id", "question"])
    ids = set(held_out.column("row_id").to_pylist())
    questions = first_places(held_out.column("question").to_pylist())
    blended = set(artifact.table("blends", columns=["sample_id"]).column("sample_id").to_pylist())
    by_id, by_text = set(), set()
    for name, dataset in inputs.items():
        if name == HELD_OUT:
            continue
        table = dataset.table("sft_samples", columns=["row_id", "input", "parents"])
        for row in table.to_pylist():
            if row["row_id"] not in blended:
                continue
            if any(parent["row_id"] in ids for parent in row["parents"] or []):
                by_id.add(row["row_id"])
            asked = (turn["content"] for turn in row["input"] if turn["role"] == "user")
            if any(text_key(text) in questions for text in asked):
                by_text.add(row["row_id"])
    overlap = by_id | by_text
    example = f", such as sample {min(overlap).hex()}" if overlap else ""
    return CheckResult(
        name="no_held_out_overlap",
        passed=not overlap,
        description=(
            f"{len(overlap)} of {len(blended)} blended samples come from {len(ids)} held-out "
            f"problems{example}"
        ),
        metadata={"by_row_id": len(by_id), "by_question": len(by_text)},
    )
