"""`heirloom accept`, `pin`, `gc` and `approve`: what a person decides about versions and plans."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime

from jobs.errors import CommandError
from resources.store import home as homes


def main(arguments: argparse.Namespace) -> int:
    """Dispatch to the one that was asked for."""
    home = homes.find(arguments.home).prepare()
    commands = {"accept": accept, "pin": pin, "gc": gc, "approve": approve}
    return commands[arguments.command](arguments, home)


def accept(arguments: argparse.Namespace, home: homes.Home) -> int:
    """Record that a code or recipe change does not matter for an asset."""
    from jobs.keys import resolve_key
    from jobs.plan import make_plan
    from warehouse import accept as acceptance
    from warehouse.store import Store

    plan, store = make_plan(home, homes.recipe_name(home, arguments.recipe)), Store(home.path)
    key, _ = resolve_key(plan.recipe, arguments.key)
    asset = plan.by_key[key]
    steps = [step for step in asset.steps if step.state != "fresh"] or asset.steps[:1]
    for step in steps:  # all of them or none
        acceptance.acceptable(step.node, step.found, arguments.reason)
    for step in steps:
        record = acceptance.accept(store, step.node, step.found, arguments.reason)
        print(f"{step.label}@{record['data_version'][:12]} stands for: {record['change']}")
    if asset.spec.partitions:
        memos = {str(step.partition): str(step.found.memo_key) for step in asset.steps}
        store.become_whole(key, memos)
    return 0


def pin(arguments: argparse.Namespace, home: homes.Home) -> int:
    """Keep a version, and what it was made from, from `heirloom gc`; --remove lets it go."""
    from jobs.keys import open_artifact
    from resources.recipe.loading import load
    from warehouse import gc as collection
    from warehouse.store import Store

    recipe = load(homes.recipe_name(home, arguments.recipe))
    artifact, store = open_artifact(home, recipe, arguments.key), Store(home.path)
    if arguments.remove:
        collection.unpin(store, artifact)
    else:
        collection.pin(store, artifact, arguments.reason)
    done = "no longer pinned" if arguments.remove else f"pinned: {arguments.reason}"
    print(f"{artifact.label}@{artifact.data_version[:12]} is {done}")
    return 0


def gc(arguments: argparse.Namespace, home: homes.Home) -> int:
    """Remove the versions that nothing current or pinned needs; --dry-run only names them."""
    from warehouse.gc import collect
    from warehouse.store import Store

    found = collect(Store(home.path), dry_run=arguments.dry_run)
    for key, version in found.versions:
        print(f"{key}@{version[:12]}")
    verb = "would remove" if arguments.dry_run else "removed"
    print(
        f"{verb} {len(found.versions)} versions, {found.files} files, {found.bytes / 1e6:,.1f} MB"
    )
    return 0


def approve(arguments: argparse.Namespace, home: homes.Home) -> int:
    """Let the sensor start the plan with this id."""
    if not re.fullmatch(r"[0-9a-f]{12}", arguments.plan):
        raise CommandError(
            f"{arguments.plan!r} is no plan id; the sensor prints it, 12 hexadecimal digits"
        )
    home.approvals.mkdir(parents=True, exist_ok=True)
    (home.approvals / arguments.plan).write_text(datetime.now(UTC).isoformat() + "\n")
    print(f"approved {arguments.plan}: the sensor starts it at its next tick")
    return 0
