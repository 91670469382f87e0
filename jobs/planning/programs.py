"""Whether this machine can run the programs that a recipe's models write, before anything is built.

Asks the sandbox once a process. Knows the flag that builds without them; what it changes is the
recipe's `programs`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jobs.errors import CommandError
from resources.recipe.schema import Recipe
from resources.store.spec import Spec

FLAG = "--without-programs"
OVERRIDE = "programs=unjudged"  # what the flag says of the recipe
REMEDY = (
    f"`heirloom run {FLAG}` (make run RUN={FLAG}) builds the family without running any: verdicts "
    "on code are unknown, and nothing is trained on or scored by them"
)


def missing() -> str | None:
    """Why programs cannot be run on this machine; None where they can be isolated."""
    from resources.verifiers.programs import sandbox

    try:
        sandbox.shared()
    except sandbox.SandboxUnavailable as error:
        return str(error)
    return None


def refused(recipe: Recipe, specs: Iterable[Spec], keys: Collection[str]) -> str | None:
    """Why the assets `keys` cannot be built here, and what would help.

    None where none of them runs programs, where the recipe leaves programs unjudged, or where they
    can be isolated.
    """
    asked = [spec.key for spec in specs if spec.runs_programs and spec.key in keys]
    if not asked or recipe.family.programs != "run":
        return None
    why = missing()
    return f"{asked[0]} runs programs that models wrote: {why}. {REMEDY}" if why else None


def refuse(recipe: Recipe, specs: Iterable[Spec], keys: Collection[str]) -> None:
    """Raises CommandError with the reason of `refused`, where there is one."""
    why = refused(recipe, specs, keys)
    if why is not None:
        raise CommandError(why)
