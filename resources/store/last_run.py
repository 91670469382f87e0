"""Which recipe a home was last run with, and which recipe each model in it belongs to.

`recipe.json` in the home holds both; HEIRLOOM_RECIPE and HEIRLOOM_OVERRIDES (a line each) go before
it. Knows what a recipe is called, not what it says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from resources.recipe.reference import Reference
from resources.store.home import Home
from warehouse.files.filesystem import replacing

FILE = "recipe.json"
NAME_ALONE = "recipe"  # written until a run had overrides
DEFAULT = "tiny"


@dataclass(frozen=True)
class LastRun:
    """The home's last run, and by model the recipe that last made it."""

    reference: Reference
    models: Mapping[str, str] = field(default_factory=dict)


def recorded(home: Home) -> LastRun | None:
    """What the home says of its last run; None where it was never run."""
    try:
        said = json.loads((home.path / FILE).read_text())
        reference = Reference(said["recipe"], tuple(said["overrides"]))
        return LastRun(reference, said["models"])
    except FileNotFoundError:
        pass
    try:
        return LastRun(Reference((home.path / NAME_ALONE).read_text().strip() or DEFAULT))
    except FileNotFoundError:
        return None


def chosen(
    home: Home, recipe: str | None = None, overrides: Sequence[str] = (), *, run: bool = False
) -> Reference:
    """The recipe that a command means: as typed, else as in the environment, else the last run's.

    Overrides come with the recipe that they were typed for; further ones are added to those of the
    last run. A `run` that names no recipe does not go back to the last.
    """
    if recipe:
        return Reference.of(recipe, overrides)
    if named := os.environ.get("HEIRLOOM_RECIPE"):
        lines = os.environ.get("HEIRLOOM_OVERRIDES", "").splitlines()
        return Reference.of(named, (*lines, *overrides))
    last = None if run else recorded(home)
    if last is None:
        return Reference.of(DEFAULT, overrides)
    return Reference.of(last.reference.recipe, (*last.reference.overrides, *overrides))


def hand_on(reference: Reference) -> None:
    """Let processes started from here mean the same recipe."""
    os.environ["HEIRLOOM_RECIPE"] = reference.recipe
    os.environ["HEIRLOOM_OVERRIDES"] = "\n".join(reference.overrides)


def remember(home: Home, reference: Reference, models: Iterable[str]) -> None:
    """Let later commands on this home speak of this run; its models are this recipe's from now."""
    last = recorded(home)
    owners = {**(last.models if last else {}), **dict.fromkeys(models, reference.recipe)}
    if last == LastRun(reference, owners):
        return
    said = {"recipe": reference.recipe, "overrides": list(reference.overrides), "models": owners}
    with replacing(home.path / FILE) as aside:
        aside.write_text(json.dumps(said, indent=1) + "\n")


def taken_over(home: Home, reference: Reference, models: Iterable[str]) -> str | None:
    """What a run of this recipe would do to models of the same names that another recipe made here.

    One line for the reader; None where there are none.
    """
    last = recorded(home)
    if last is None:
        return None
    owners: dict[str, list[str]] = {}
    for model in models:
        owner = last.models.get(model, last.reference.recipe if not last.models else None)
        if owner is not None and owner != reference.recipe:
            owners.setdefault(owner, []).append(model)
    if not owners:
        return None
    said = "; ".join(f"{', '.join(names)} of recipe {owner}" for owner, names in owners.items())
    again = next(iter(owners))
    return (
        f"this home holds {said}; what recipe {reference.recipe} makes under the same names "
        "becomes current in its place (the old versions stay: "
        f"`heirloom run --recipe {again}` makes them current again). To keep both at hand, give "
        "this recipe a home of its own (--home DIR) or its models other names"
    )
