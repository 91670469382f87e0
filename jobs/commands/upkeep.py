"""`heirloom accept`, `pin`, `gc` and `approve`: what a person decides about versions and plans."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.errors import CommandError
from resources.store import home as homes
from warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from jobs.planning.plan import Asset, Plan
    from warehouse.store import Store


def main(arguments: argparse.Namespace) -> int:
    """Dispatch to the one that was asked for."""
    home = homes.find(arguments.home).prepare()
    commands = {"accept": accept, "pin": pin, "gc": gc, "approve": approve}
    return commands[arguments.command](arguments, home)


def accept(arguments: argparse.Namespace, home: homes.Home) -> int:
    """Record that a code or recipe change does not matter for an asset, or for all it touched."""
    from jobs.keys import named, resolve_key
    from jobs.planning.plan import make_plan
    from warehouse.store import Store

    store = Store(home.path)
    recipe = named(home, arguments)
    if arguments.all:
        return _accept_all(store, lambda: make_plan(home, recipe), arguments.reason)
    plan = make_plan(home, recipe)
    key, _ = resolve_key(plan.recipe, arguments.key)
    _accept(store, plan.by_key[key], arguments.reason)
    return 0


def _accept(store: Store, asset: Asset, reason: str) -> None:
    """Accept every partition of an asset, or none. Raises WarehouseError with the reason."""
    from warehouse.planning import accept as acceptance

    steps = [step for step in asset.steps if step.state != "fresh"] or asset.steps[:1]
    for step in steps:
        acceptance.acceptable(step.node, step.found, reason)
    for step in steps:
        record = acceptance.accept(store, step.node, step.found, reason)
        print(f"{step.label}@{record['data_version'][:12]} stands for: {record['change']}")
    if asset.spec.partitions:
        memos = {str(step.partition): str(step.found.memo_key) for step in asset.steps}
        store.become_whole(asset.key, memos)


def _accept_all(store: Store, replan: Callable[[], Plan], reason: str) -> int:
    """Accept what can be, inputs first, planning anew as inputs settle; 1 where something is left.

    What was built under other inputs, files or seeds is no matter of code or recipe and stays.
    """
    accepted: set[str] = set()
    while True:
        left: dict[str, str] = {}
        settled = len(accepted)
        for asset in replan().assets:
            if asset.state == "fresh" or asset.key in accepted:
                continue
            try:
                _accept(store, asset, reason)
                accepted.add(asset.key)
            except WarehouseError as error:
                left[asset.key] = str(error)
        if len(accepted) == settled:
            break
    for why in left.values():
        print(why)
    print(f"{len(accepted)} assets accepted, {len(left)} left for a run")
    return 1 if left else 0


def pin(arguments: argparse.Namespace, home: homes.Home) -> int:
    """Keep a version, and what it was made from, from `heirloom gc`; --remove lets it go."""
    from jobs.keys import named, open_artifact
    from resources.recipe.loading import load
    from warehouse import gc as collection
    from warehouse.store import Store

    recipe = load(*named(home, arguments))
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
