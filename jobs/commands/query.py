"""`heirloom sql` and `heirloom lineage`: read the warehouse, print it."""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from typing import Any

from jobs.errors import CommandError
from resources.store import home as homes


def main(arguments: argparse.Namespace) -> int:
    """Dispatch to the one of the two that was asked for."""
    home = homes.find(arguments.home)
    if not home.path.is_dir():
        raise CommandError(f"there is no home at {home.path} yet: `heirloom run` makes it")
    return sql(arguments, home) if arguments.command == "sql" else lineage(arguments, home)


def sql(arguments: argparse.Namespace, home: homes.Home) -> int:
    """Run one read-only query and print its rows."""
    from warehouse.catalog import connect, query

    with connect(home.path) as connection:
        relation = query(connection, arguments.query)
        names = [str(column[0]) for column in relation.description or []]
        rows = relation.fetchall()
    if arguments.format == "json":
        records = [finite(dict(zip(names, row, strict=True))) for row in rows]
        print(json.dumps(records, indent=1, default=str, allow_nan=False))
    elif arguments.format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    else:
        _table(names, rows)
    return 0


def finite(value: Any) -> Any:
    """A value with null for what JSON has no number for.

    >>> finite({"a": [1.5, float("nan")], "b": float("inf")})
    {'a': [1.5, None], 'b': None}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def _table(names: list[str], rows: list[tuple[Any, ...]]) -> None:
    from rich.text import Text

    from jobs.console import open_console, plain_table

    table = plain_table()
    numeric = [
        bool(rows) and all(isinstance(r[i], int | float) or r[i] is None for r in rows)
        for i in range(len(names))
    ]
    for name, right in zip(names, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = open_console()
    console.print(table)
    console.print(f"{len(rows):,} rows", style="dim")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def lineage(arguments: argparse.Namespace, home: homes.Home) -> int:
    """Print the tree of an asset (down to one of its rows) or of a row."""
    from jobs.console import open_console
    from jobs.keys import named, resolve_key
    from jobs.trees import asset_branches, row_branches
    from resources.recipe.loading import load
    from warehouse.lineage import asset_tree, example_row, is_row_id, row_tree
    from warehouse.store import Store

    store, console = Store(home.path), open_console()
    target = arguments.target
    if is_row_id(target):
        console.print(row_branches(row_tree(store, target, down=arguments.down)))
        return 0
    key, version = target.partition("@")[::2]
    if not store.parts(key) and "/" not in key:
        key, version = resolve_key(load(*named(home, arguments)), target)
    name = f"{key}@{version}" if version else key
    console.print(asset_branches(asset_tree(store, name, down=arguments.down)))
    if not arguments.down:
        row = example_row(store, name)
        if row is not None:
            console.print("\none of the rows it goes back to:")
            console.print(row_branches(row))
    return 0
