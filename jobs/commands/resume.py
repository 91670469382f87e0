"""`heirloom resume`: lets a training run that stopped because it diverged go on, on the record.

Finds the stopped build's work folder and writes the answer there; the next run acts on it.
"""

from __future__ import annotations

import argparse

from jobs.errors import CommandError
from resources.store import home as homes


def main(arguments: argparse.Namespace) -> int:
    """Answer the stop of one asset; 1 where it did not stop."""
    from jobs.keys import named, resolve_key
    from resources.recipe.loading import load
    from resources.training.loop import interventions
    from warehouse.store import Store

    home = homes.find(arguments.home)
    recipe = load(*named(home, arguments))
    key, _ = resolve_key(recipe, arguments.key)
    # By its key, not by the plan: the run may have been one of a selection over older inputs.
    folder = interventions.waiting(Store(home.path).scratch / "work", key)
    if folder is None:
        raise CommandError(f"{key}: no stopped run waits for an answer")
    record = interventions.answer(folder, by="operator", reason=arguments.reason)
    print(
        f"{key}: goes on from step {record['good_step']} with fresh optimizer states "
        f"(it stopped at step {record['step']}: {record['what']}); `heirloom run` now"
    )
    return 0
