"""Unfinished work: the folders in which builds that did not end yet keep what they have.

A folder is named by its asset and by the memo key of what is being built, so that people can read
it and the next run finds it. Knows names and folders, not what lies in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from warehouse.errors import explained
from warehouse.files.filesystem import drop_leftovers
from warehouse.manifest import label

_DIGITS = 16  # of a memo key, in a name


def folder_of(scratch: Path, key: str, partition: str | None, memo: str) -> Path:
    """Where the build with this memo key works; nothing is created.

    >>> folder_of(Path("home"), "super/library", "layers_0-1", "ab" * 32).name
    'super.library[layers_0-1]@abababababababab'
    """
    name = label(key, partition).replace("/", ".")
    return scratch / "work" / f"{name}@{memo[:_DIGITS]}"


def begun(scratch: Path, memo: str) -> Path | None:
    """The folder in which a build with this memo key began, by whatever name, or None."""
    work = scratch / "work"
    if (work / memo).is_dir():
        return work / memo
    return next((path for path in work.glob(f"*@{memo[:_DIGITS]}") if path.is_dir()), None)


def take_up(
    scratch: Path, key: str, partition: str | None, memo: str, former: Iterable[str] = ()
) -> Path:
    """The folder to work in, made where it was not: what was begun under `memo`, or else under a
    memo key of equivalent code (`former`), is in it. Halves of files that a kill left are not.

    Raises WarehouseError where the folder cannot be made.
    """
    folder = folder_of(scratch, key, partition, memo)
    with explained(f"make the work folder {folder}"):
        if not folder.is_dir():
            found = (begun(scratch, each) for each in (memo, *former))
            there = next((path for path in found if path is not None), None)
            if there is None:
                folder.mkdir(parents=True, exist_ok=True)
            else:
                os.replace(there, folder)
        drop_leftovers(folder)
    return folder


def others(scratch: Path, wanted: Iterable[str]) -> list[Path]:
    """The work folders of no build with one of the `wanted` memo keys: nobody will take them up."""
    work, known = scratch / "work", set(wanted)
    short = {memo[:_DIGITS] for memo in known}
    if not work.is_dir():
        return []
    return sorted(
        path
        for path in work.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and path.name not in known
        and path.name.rpartition("@")[2] not in short
    )
