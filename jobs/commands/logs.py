"""`heirloom logs`: the last build of an asset, its log, and the cause last."""

from __future__ import annotations

import argparse

from jobs.errors import CommandError
from resources.store import home as homes


def main(arguments: argparse.Namespace) -> int:
    """Print the log of the last build, or of the one of its partitions that failed last."""
    from jobs.keys import named, resolve_key
    from resources.recipe.loading import load
    from warehouse.builds import builds, excerpt
    from warehouse.store import Store

    home = homes.find(arguments.home)
    recipe = load(*named(home, arguments))
    name, _, partition = arguments.key.removesuffix("]").partition("[")
    key, _ = resolve_key(recipe, name)
    found = [each for each in builds(Store(home.path), key) if partition in ("", each.partition)]
    if not found:
        raise CommandError(f"{arguments.key} was never built in {home.path}")
    build = max(found, key=lambda each: (each.failed, each.began))
    shown = key if build.partition is None else f"{key}[{build.partition}]"
    print(f"{shown}: {build.outcome}, begun {build.began}, log {build.log or 'kept by Dagster'}")
    for text in (excerpt(build), build.trace, build.reason):
        if text:
            print(text)
    return 0
