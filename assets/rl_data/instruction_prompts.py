"""New instruction-following prompts with one to n checkable constraints each.

Prompts are drawn fresh, so none of them is a question that SFT has already answered.
Source: arXiv 2505.00949 section 6.1 (synthetic prompts with 1 to 10 verifiable instructions).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.rl_data import problem_rows
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def build_instruction_prompts(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """`prompts` new questions, evenly over 1 … `max_constraints` constraints.

    The generator holds back its deepest compositions for measurement, so fewer constraints than
    `max_constraints` may be drawn; the metric `most_constraints` says how many.
    """
    from resources.tasks.generate import distinct, stream, table
    from resources.tasks.held_out import DEEPEST_TRAINED
    from warehouse.rows import with_ids

    known = inputs["problems"]
    seen = set(known.table("problems", ["question"])["question"].to_pylist())
    most = min(recipe["max_constraints"], DEEPEST_TRAINED)
    depths = dict.fromkeys(range(1, most + 1), 1.0)
    drawn = distinct(
        stream("instructions", depths=depths, seed=recipe["seed"]), recipe["prompts"], seen=seen
    )
    made = table(drawn, split="train")
    problems = with_ids(made, recipe["asset_key"], ["question"])
    rows = [dict(row, asset_key=recipe["asset_key"]) for row in problems.to_pylist()]
    return Output(
        tables={
            "problems": problems,
            "prompts": problem_rows.prompt_table(rows, recipe["asset_key"]),
        },
        metrics={
            "prompts": float(len(rows)),
            "most_constraints": float(most),
            "mean_constraints": sum(row["difficulty"] for row in rows) / max(len(rows), 1),
        },
    )
