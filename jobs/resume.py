"""`heirloom resume`: lets a training run that stopped because it diverged go on, on the record.

Finds the stopped build's work folder and writes the answer there; the next run acts on it.
"""

from __future__ import annotations

import argparse

from jobs.cli import CommandError
from resources.store import home as homes


def main(arguments: argparse.Namespace) -> int:
    """Answer the stop of one asset; 1 where it did not stop."""
    from jobs.keys import resolve_key
    from jobs.plan import make_plan
    from resources.training import interventions
    from warehouse.store import Store

    home = homes.find(arguments.home)
    plan = make_plan(home, homes.recipe_name(home, arguments.recipe))
    key, _ = resolve_key(plan.recipe, arguments.key)
    work = Store(home.path).scratch / "work"
    for step in plan.steps:
        if step.key != key or step.found.memo_key is None:
            continue
        try:
            record = interventions.answer(
                work / step.found.memo_key, by="operator", reason=arguments.reason
            )
        except FileNotFoundError:
            continue
        print(
            f"{key}: goes on from step {record['good_step']} with fresh optimizer states "
            f"(it stopped at step {record['step']}: {record['what']}); `heirloom run` now"
        )
        return 0
    raise CommandError(f"{key}: no stopped run waits for an answer")
