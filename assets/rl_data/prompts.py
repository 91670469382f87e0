"""Keeps the problems that are worth practising: those the model does not already solve.

Reads pass rates and problems, writes the kept prompts, and a reason with evidence for each drop.
Source: arXiv 2505.00949 section 5 (prompts with a pass rate of 0.75 or more are discarded).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.rl_data import problem_rows
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def keep(row: Mapping[str, Any], discard_at: float) -> tuple[str, str] | None:
    """None to keep a `pass_rates` row, else the reason and the evidence for dropping it.

    >>> row = {"pass_rate": 0.5, "correct": 4, "samples": 8, "unknown": 0, "truncated": 0}
    >>> keep(row, 0.75)
    >>> keep({**row, "pass_rate": 0.75, "correct": 6}, 0.75)
    ('too easy', '6 of 8 judged samples correct; kept below 0.75')
    >>> keep({**row, "pass_rate": None, "correct": 1, "unknown": 7}, 0.75)
    ('unverifiable', '7 of 8 samples are unknown')
    >>> keep({**row, "pass_rate": 0.0, "correct": 0, "truncated": 8}, 0.75)
    ('truncated', 'all 8 samples ran into the token limit')
    """
    if row["pass_rate"] is None:
        return "unverifiable", f"{row['unknown']} of {row['samples']} samples are unknown"
    if row["truncated"] >= row["samples"]:
        return "truncated", f"all {row['samples']} samples ran into the token limit"
    if row["pass_rate"] < discard_at:
        return None
    judged = row["samples"] - row["unknown"]
    return (
        "too easy",
        f"{row['correct']} of {judged} judged samples correct; kept below {discard_at:g}",
    )


def build_prompts(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """The problems with a pass rate below `discard_at` as `prompts`; the others as `dropped`."""
    import pyarrow as pa

    rates = inputs["pass_rates"].table("pass_rates").to_pylist()
    rows = {
        row["row_id"]: row
        for group in problem_rows.by_domain(inputs, recipe["domains"]).values()
        for row in group
    }
    kept: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for row in rates:
        reason = keep(row, recipe["discard_at"])
        if reason is None:
            kept.append(row)
        else:
            dropped.append(
                {
                    "row_id": row["problem_id"],
                    "reason": reason[0],
                    "evidence": reason[1],
                    "matched_row_id": None,
                }
            )
    prompts = problem_rows.prompt_table(
        [rows[row["problem_id"]] for row in kept],
        recipe["asset_key"],
        [row["pass_rate"] for row in kept],
    )
    schema = pa.schema(
        [
            ("row_id", pa.binary(16)),
            ("reason", pa.string()),
            ("evidence", pa.string()),
            ("matched_row_id", pa.binary(16)),
        ]
    )
    return Output(
        tables={"prompts": prompts, "dropped": pa.Table.from_pylist(dropped, schema=schema)},
        metrics={
            "kept": float(len(kept)),
            "dropped": float(len(dropped)),
            "mean_pass_rate": sum(row["pass_rate"] for row in kept) / max(len(kept), 1),
        },
    )
