"""`heirloom status`: every asset, fresh, stale (and why) or missing."""

from __future__ import annotations

import argparse
import json
from collections import Counter

from rich.text import Text

from jobs.console import open_console, plain_table
from jobs.keys import named
from jobs.planning.plan import Plan, Step, make_plan
from resources.store import home as homes
from warehouse.builds import Build, last
from warehouse.store import Store

STYLES = {"fresh": "green", "stale": "yellow", "missing": "red", "failed": "bold red"}


def main(arguments: argparse.Namespace) -> int:
    """Print the table, or the JSON list of contracts; building nothing, importing nothing heavy."""
    home = homes.find(arguments.home)
    plan = make_plan(home, named(home, arguments))
    store = Store(home.path)
    if arguments.format == "json":
        print(json.dumps(records(plan, store), indent=1))
    else:
        show(plan, home, store)
    return 0


def records(plan: Plan, store: Store) -> list[dict[str, object]]:
    """One record an asset: asset_key, state, why, data_version, rows, materialized_at.

    Of a partitioned one also `partitions`, each with its state, why, data_version and rows. What is
    not fresh and whose last build failed is `failed`, with its reason.
    """
    found = []
    for asset in plan.assets:
        manifests = asset.manifests
        failed = [build for step in asset.steps if (build := failure(store, step)) is not None]
        reasons = [f"{build.reason} (`heirloom logs {asset.key}`)" for build in failed]
        record: dict[str, object] = {
            "asset_key": asset.key,
            "state": "failed" if failed else asset.state,
            "why": "; ".join(reasons) or asset.why,
            "data_version": asset.data_version,
            "rows": sum(manifest["rows"] for manifest in manifests) if manifests else None,
            "materialized_at": max(
                (manifest["observations"]["materialized_at"] for manifest in manifests),
                default=None,
            ),
        }
        if asset.spec.partitions:
            record["partitions"] = [
                {
                    "partition": step.partition,
                    "state": "failed" if failure(store, step) else step.state,
                    "why": step.why,
                    "data_version": step.found.data_version,
                    "rows": None if step.manifest is None else step.manifest["rows"],
                }
                for step in asset.steps
            ]
        found.append(record)
    return found


def failure(store: Store, step: Step) -> Build | None:
    """The step's last build where that failed and it was not built since."""
    build = None if step.state == "fresh" else last(store, step.key, step.partition)
    return build if build is not None and build.failed else None


def show(plan: Plan, home: homes.Home, store: Store) -> None:
    """The same for people: a table, why things are stale, and a line of totals."""
    table = plain_table("asset", "state", "version")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("when", no_wrap=True)
    every = records(plan, store)
    for record in every:
        when, rows = str(record["materialized_at"] or ""), record["rows"]
        table.add_row(
            str(record["asset_key"]),
            Text(str(record["state"]), style=STYLES[str(record["state"])]),
            str(record["data_version"] or "")[:12],
            "" if rows is None else f"{rows:,}",
            when[:16].replace("T", " "),
        )
    console = open_console()
    console.print(table)
    for asset, record in zip(plan.assets, every, strict=True):
        built = any(step.manifest is not None for step in asset.steps)
        state = str(record["state"])
        if state in ("stale", "failed") or (state == "missing" and built):
            console.print(Text(f"{asset.key} is {state}: {record['why']}"))
    counts = Counter(str(record["state"]) for record in every)
    totals = ", ".join(f"{counts[state]} {state}" for state in STYLES if counts[state])
    console.print(f"{totals} · recipe {plan.recipe.name} · home {home.path}")
    for override in plan.recipe.overrides:
        console.print(Text(f"overrides: {override}"))
