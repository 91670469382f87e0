"""`heirloom check`: everything that could stop a recipe, all at once, before anything is paid for.

The list of checks, and how their findings are shown; the checks themselves are in `jobs/checks`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jobs.checks import (
    amounts,
    data,
    engines,
    machine,
    models,
    overridden,
    shapes,
    templates,
    tools,
    unused,
    written,
)
from jobs.checks.asked import Asked, Check, Finding
from jobs.errors import CommandError, one_line
from resources.recipe.errors import dotted
from resources.recipe.loading import Examined, examine
from resources.recipe.reading.faults import Fault
from resources.recipe.reading.later import UNBUILT
from resources.recipe.reading.validating import SCHEMA
from resources.recipe.schema import Recipe
from resources.recipe.tree import KeyPath, leaves
from resources.store import home as homes
from resources.store.digests import Digests

CHECKS: tuple[tuple[str, Check], ...] = (
    (UNBUILT, written.unbuilt),
    ("files and columns", data.sources),
    ("files and columns", data.watched),
    ("files and columns", data.benchmarks),
    ("files and columns", amounts.amounts),
    ("parents", models.parents),
    ("tokenizer and template", templates.templates),
    ("tokenizer and template", tools.tools),
    ("parents", shapes.lengths),
    ("parents", shapes.variants),
    ("exports", shapes.exports),
    ("engines", engines.started),
    ("engines", engines.servers),
    ("engines", machine.precision),
    ("placement", machine.placement),
    ("placement", shapes.shared),
    ("isolation of programs", machine.isolation),
    ("used by nothing", unused.unused),
    ("used by nothing", unused.material),
    ("used by nothing", overridden.overridden),
)
# What a run looks at before it begins: done in an instant, without network.
FIRST: tuple[Check, ...] = (
    written.unbuilt,
    data.present,
    engines.started,
    machine.precision,
    unused.unused,
    overridden.overridden,
)


def main(arguments: argparse.Namespace) -> int:
    """Print every finding by group; 1 where one of them stops the recipe."""
    from jobs.keys import named

    arguments.recipe = arguments.target or arguments.recipe
    home = homes.find(arguments.home)
    reference = named(home, arguments)
    found = examine(*reference, check_paths=False)  # the checks look at what lies there
    if arguments.resolved and found.tree is not None:
        for line in resolved(found):
            print(line)
        print()
    print(f"recipe {reference}")
    groups: dict[str, list[Finding]] = {SCHEMA: []}
    for fault in found.faults:
        groups.setdefault(fault.group, []).append(fault)
    if found.recipe is not None:
        with tempfile.TemporaryDirectory(prefix="heirloom-check-") as scratch:
            commits = Digests(home.path / "digests.json").commits.known
            asked = Asked(found.recipe, arguments.offline, Path(scratch), commits)
            for group, check in CHECKS:
                findings = groups.setdefault(group, [])
                made = _made(check, asked, broken=bool(found.faults))
                findings += (each for each in made if each not in findings)
    return show(groups)


def _made(check: Check, asked: Asked, *, broken: bool) -> Iterator[Finding]:
    """A check's findings; that it broke off itself is one, and the other checks are still made.

    Of a `broken` recipe it is none: sections that do not fit each other make checks break off.
    """
    try:
        yield from check(asked)
    except Exception as error:
        if broken:
            yield "not looked at to the end: mend what is named above first"
            return
        yield Fault("", "", f"this check broke off: {one_line(error)}", "mend what is named there")


def show(groups: dict[str, list[Finding]]) -> int:
    """Print the groups, and how many faults there are; 1 where there are any."""
    stopping = 0
    for group, findings in groups.items():
        faults = [each for each in findings if isinstance(each, Fault)]
        stops = sum(each.stops for each in faults)
        stopping += stops
        print(f"{group}: {'ok' if not stops else f'{stops} to mend'}")
        for each in findings:
            mark = "" if isinstance(each, str) else "x " if each.stops else "- "
            print(f"  {mark}{each}")
    if len(groups) == 1 and stopping:
        print("the other checks need a recipe that its schema accepts")
    print(f"{stopping} to mend" if stopping else "nothing stops this recipe")
    return 1 if stopping else 0


def refuse(recipe: Recipe) -> None:
    """Raises CommandError with every fault that shows in an instant, as a run begins."""
    with tempfile.TemporaryDirectory(prefix="heirloom-check-") as scratch:
        asked = Asked(recipe, True, Path(scratch))
        faults = [
            str(each)
            for check in FIRST
            for each in check(asked)
            if isinstance(each, Fault) and each.stops
        ]
    if faults:
        more = f" (and {len(faults) - 1} more: `heirloom check` lists them)" if faults[1:] else ""
        raise CommandError(f"{faults[0]}{more}")


def resolved(found: Examined) -> Iterator[str]:
    """Each value of a recipe with where it was written, defaults included."""
    assert found.tree is not None
    rows = [(dotted(path), node.value, str(node.origin)) for path, node in leaves(found.tree)]
    if found.recipe is not None:
        known = [path for path, _ in leaves(found.tree)]
        rows += [
            (dotted(path), value, "default")
            for path, value in _values(found.recipe)
            if not any(_covers(each, path) for each in known)
        ]
    width = min(60, max((len(key) for key, _, _ in rows), default=0))
    for key, value, origin in rows:
        yield f"{key:<{width}}  {json.dumps(value, ensure_ascii=False)}  [{origin}]"


def _covers(known: KeyPath, path: KeyPath) -> bool:
    """Whether a value was written there, or below, or above."""
    short = min(len(known), len(path))
    return tuple(map(str, known[:short])) == tuple(map(str, path[:short]))


def _values(recipe: Recipe) -> Iterator[tuple[KeyPath, object]]:
    def walk(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                yield from walk(inner, (*path, key))
        else:
            yield path, value

    yield from walk(recipe.family.model_dump(mode="json"), ())
    for name, model in recipe.models.items():
        yield from walk(model.model_dump(mode="json", exclude={"name"}), ("models", name))
    yield from walk(recipe.execution.model_dump(mode="json"), ("execution",))
