"""`heirloom audit`: compare what the home holds with the hashes on record; name what is damaged.

Knows what a person may write for an asset; the reading and comparing is the warehouse's.
"""

from __future__ import annotations

import argparse

from jobs.errors import CommandError
from resources.store import home as homes
from resources.store.home import Home


def main(arguments: argparse.Namespace) -> int:
    """Print a line for each damaged thing, then what was read; 1 where anything is damaged."""
    from warehouse.audit import audit
    from warehouse.store import Store

    home = homes.find(arguments.home)
    key, version = _named(home, arguments) if arguments.key else ("", "")
    found = audit(Store(home.path), key, version)
    if arguments.key and not found.versions and not found.damaged:
        raise CommandError(f"{arguments.key} has no version in {home.path}; `heirloom status`")
    for line in found.damaged:
        print(line)
    read = f"{found.versions} versions, {found.files} files, {found.bytes / 1e6:,.1f} MB"
    print(f"{read}: {f'{len(found.damaged)} damaged' if found.damaged else 'all as recorded'}")
    return 1 if found.damaged else 0


def _named(home: Home, arguments: argparse.Namespace) -> tuple[str, str]:
    """The asset or partition, and the prefix of its version, that a person named."""
    from jobs.keys import named, resolve_key
    from resources.recipe.loading import load

    name, _, version = arguments.key.partition("@")
    name, bracket, partition = name.partition("[")
    key, _ = resolve_key(load(*named(home, arguments)), name)
    return f"{key}{bracket}{partition}", version
