"""Which prompt stands in which place of which training step, and in which reasoning mode.

Pure planning from tables and seeds, made whole before training starts, so that a resumed run
continues the same plan.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from resources.tasks.drawing import Row, draw_by_domain, modes, prompt_rows
from warehouse.store import Artifact

T = TypeVar("T")
Slot = tuple[Row, str]  # a problem and its reasoning mode


def plan_slots(inputs: Mapping[str, Artifact], recipe: Mapping[str, Any]) -> list[list[Slot]]:
    """`steps` lists of prompts (a round, where the recipe has rounds: `steps` each).

    With a `curriculum` input its steps are taken as they are; with `rounds` each round draws its
    own pool of `prompts` by domain weight; otherwise all prompts are passed through in shuffled
    order, again and again. `off_share` of a step's prompts think "off" where both modes are asked
    for (half of them unless the recipe says so).
    """
    rows = prompt_rows(inputs["prompts"].table("prompts"))
    if not rows:
        raise ValueError(f"{inputs['prompts'].key} holds no prompt to train on")
    seed, steps, size = int(recipe["seed"]), int(recipe["steps"]), int(recipe["prompts_per_step"])
    plan: list[list[Slot]] = []
    if "curriculum" in inputs:
        batches = curriculum_steps(rows, inputs["curriculum"])
        if len(batches) != steps:
            raise ValueError(
                f"{inputs['curriculum'].key} has {len(batches)} steps, the recipe {steps}"
            )
        _add(plan, batches, recipe["reasoning"], recipe)
    elif "rounds" in recipe:
        for number, section in enumerate(recipe["rounds"]):
            pool = draw_by_domain(rows, recipe["prompts"], section["domains"], [seed, number])
            batches = list(passes(pool, steps, size, [seed, number]))
            _add(plan, batches, section["reasoning"], recipe)
    else:
        _add(plan, list(passes(rows, steps, size, [seed])), recipe["reasoning"], recipe)
    return plan


def _add(
    plan: list[list[Slot]],
    batches: Sequence[Sequence[Row]],
    reasoning: Sequence[str],
    recipe: Mapping[str, Any],
) -> None:
    share = float(recipe.get("off_share") or 1 / len(set(reasoning)))
    for batch in batches:
        how = modes(len(batch), reasoning, share, [int(recipe["seed"]), len(plan)])
        plan.append(list(zip(batch, how, strict=True)))


def curriculum_steps(rows: Sequence[Row], curriculum: Artifact) -> list[list[Row]]:
    """The prompts of every step of a curriculum plan, in its order."""
    problem_of = {row["row_id"]: row for row in rows}
    table = curriculum.table("curriculum", ["step", "problem_id"]).to_pylist()
    steps: dict[int, list[Row]] = {}
    for row in table:
        if row["problem_id"] not in problem_of:
            raise ValueError(
                f"{curriculum.key}: step {row['step']} names problem {row['problem_id'].hex()}, "
                "which is not among the prompts"
            )
        steps.setdefault(row["step"], []).append(problem_of[row["problem_id"]])
    return [steps[step] for step in sorted(steps)]


def passes(rows: Sequence[T], steps: int, size: int, seed: Sequence[int]) -> Iterator[list[T]]:
    """`steps` batches of `size` rows from shuffled passes over `rows`."""
    import numpy as np

    waiting: list[T] = []
    number = 0
    for _ in range(steps):
        while len(waiting) < size:
            order = np.random.default_rng([*seed, number]).permutation(len(rows))
            waiting += [rows[index] for index in order]
            number += 1
        yield waiting[:size]
        waiting = waiting[size:]
