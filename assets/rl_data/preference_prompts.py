"""The pool of questions that the preference stages answer and compare.

Draws training problems per domain; pairs are made from them in `preference_pairs.py` or during RL.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.rl_data import problem_rows
from resources.tasks.drawing import draw
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def build_preference_prompts(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """`domains[d]` training problems of each domain d (all of them where there are fewer)."""
    rows = problem_rows.by_domain(inputs, list(recipe["domains"]))
    chosen = [
        row
        for domain, count in recipe["domains"].items()
        for row in draw(rows[domain], count, recipe["seed"])
    ]
    counts = {
        domain: float(sum(row["domain"] == domain for row in chosen))
        for domain in recipe["domains"]
    }
    return Output(
        tables={"prompts": problem_rows.prompt_table(chosen, recipe["asset_key"])},
        metrics={"prompts": float(len(chosen)), **counts},
    )
