"""A run that Dagster itself starts, as its UI does, is the home's last run like any other."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from jobs.running.family import builder, family_assets
from resources.recipe.reference import Reference
from resources.store.home import Home
from resources.store.last_run import chosen, recorded
from tests.jobs import toy


def test_a_run_from_the_ui_is_remembered(home: Home, folder: Path) -> None:
    recipe, meant = toy.recipe(), Reference("smoke", ("seed=1",))
    made = dg.materialize(
        family_assets(toy.specs(folder)),
        resources={"builder": builder(home, recipe, reference=meant)},
        instance=dg.DagsterInstance.ephemeral(),
    )
    assert made.success
    last = recorded(home)
    assert last is not None and last.models == dict.fromkeys(recipe.models, "smoke")
    assert chosen(home) == meant
