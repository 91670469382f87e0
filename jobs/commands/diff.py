"""`heirloom diff KEY@A KEY@B`: what differs between two versions, and what came of it.

Compares manifests, and the ids of rows in the parts that only one of the two lists; builds nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.errors import CommandError
from jobs.keys import named, resolve_key
from resources.recipe.loading import load
from resources.store import home as homes
from warehouse.manifest import label, whole_version
from warehouse.planning.planner import compare, few, show
from warehouse.store import Artifact, Store

Parts = Mapping[str | None, Artifact]
Manifest = Mapping[str, Any]


def main(arguments: argparse.Namespace) -> int:
    """Print the differences, a heading each; 0 whether or not there are any."""
    home = homes.find(arguments.home)
    if not home.path.is_dir():
        raise CommandError(f"there is no home at {home.path} yet: `heirloom run` makes it")
    store = Store(home.path)
    sides = []
    for text in (arguments.left, arguments.right):
        key, _, version = text.partition("@")
        if "/" not in key:
            key, prefix = resolve_key(load(*named(home, arguments)), text)
            version = prefix or ""
        parts = store.parts(key, version)
        if not parts:
            raise CommandError(f"{key} has no current version in {home.path}; write {key}@VERSION")
        sides.append((key, parts))
    (left, before), (right, after) = sides
    print(f"{left}@{_version(before)[:12]} → {right}@{_version(after)[:12]}")
    lines = list(differences(store, before, after))
    print("\n".join(lines) if lines else "nothing differs")
    return 0


def _version(parts: Parts) -> str:
    if len(parts) == 1:
        return next(iter(parts.values())).data_version
    return whole_version({str(name): artifact.data_version for name, artifact in parts.items()})


def differences(store: Store, before: Parts, after: Parts) -> Iterator[str]:
    """The lines of two versions, partition by partition where there are any."""
    if len(before) == len(after) == 1:
        [old], [new] = before.values(), after.values()
        yield from _artifacts(store, old, new)
        return
    for name in dict.fromkeys([*before, *after]):
        title = "without partitions" if name is None else f"partition {name}"
        if name not in after or name not in before:
            yield f"{title}: only in the {'first' if name in before else 'second'}"
            continue
        lines = list(_artifacts(store, before[name], after[name]))
        if lines:
            yield f"{title}: {before[name].data_version[:12]} → {after[name].data_version[:12]}"
            yield from (f"  {line}" for line in lines)


def _artifacts(store: Store, old: Artifact, new: Artifact) -> Iterator[str]:
    """Headings, each with its lines, of what differs between two artifacts."""
    before, after = old.manifest, new.manifest
    sections = {
        "inputs": compare(_inputs(before), _inputs(after)),
        "recipe": compare(before["recipe"], after["recipe"]),
        "seed": compare(before["seed"], after["seed"]),
        "files outside": compare(_short(before["observed"]), _short(after["observed"])),
        "code": _code(before, after),
        "libraries": compare(before["libraries"], after["libraries"]),
        "rows": _rows(store, before, after),
        "files": _files(before, after),
        "metrics": _metrics(before["metrics"], after["metrics"]),
    }
    for heading, lines in sections.items():
        found = list(lines)
        if found:
            yield heading
            yield from (f"  {line}" for line in found)


def _inputs(manifest: Manifest) -> dict[str, str]:
    return {
        name: f"{label(entry['asset_key'], entry['partition'])}@{entry['data_version'][:12]}"
        for name, entry in manifest["inputs"].items()
    }


def _short(hashes: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:12] for name, value in hashes.items()}


def _code(before: Manifest, after: Manifest) -> Iterator[str]:
    """The modules that moved, where both record them; else the versions."""
    if before["code_version"] == after["code_version"]:
        return
    yield f"version {before['code_version'][:12]} → {after['code_version'][:12]}"
    yield from compare(_short(before["code_modules"]), _short(after["code_modules"]))


def _rows(store: Store, before: Manifest, after: Manifest) -> Iterator[str]:
    """By table: how many rows, and how many of them only one of the two has."""
    tables = before["tables"], after["tables"]
    for name in dict.fromkeys([*tables[0], *tables[1]]):
        old, new = (table.get(name, {"rows": 0, "columns": [], "parts": []}) for table in tables)
        sums = [{part["sha256"] for part in entry["parts"]} for entry in (old, new)]
        if sums[0] == sums[1] and old["columns"] == new["columns"]:
            continue
        line = f"{name}: {old['rows']:,} → {new['rows']:,}"
        if all("row_id" in dict(entry["columns"]) for entry in (old, new) if entry["parts"]):
            gone = _ids(store, name, old, sums[1])
            made = _ids(store, name, new, sums[0])
            line += f" (+{len(made - gone):,} -{len(gone - made):,})"
        yield line
        yield from (
            f"{name}: column {each}" for each in compare(dict(old["columns"]), dict(new["columns"]))
        )


def _ids(store: Store, name: str, entry: Manifest, shared: set[str]) -> set[bytes]:
    """The ids of the rows in the parts that the other version does not list."""
    own = [part for part in entry["parts"] if part["sha256"] not in shared]
    if not own:
        return set()
    table = store.lake.table({**entry, "parts": own}, f"table {name!r}", ["row_id"])
    return set(table["row_id"].to_pylist())


def _files(before: Manifest, after: Manifest) -> Iterator[str]:
    old, new = before["files"], after["files"]
    changed = [name for name in new if name in old and new[name]["sha256"] != old[name]["sha256"]]
    for verb, names in (
        ("added", [name for name in new if name not in old]),
        ("removed", [name for name in old if name not in new]),
        ("changed", changed),
    ):
        if names:
            yield f"{verb}: {few(sorted(names))}"


def _metrics(old: Mapping[str, float], new: Mapping[str, float]) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        if name not in old or name not in new:
            yield from compare(
                {k: v for k, v in old.items() if k == name},
                {k: v for k, v in new.items() if k == name},
            )
        elif old[name] != new[name]:
            change = new[name] - old[name]
            yield f"{name} {show(old[name])} → {show(new[name])} ({change:+.4g})"
