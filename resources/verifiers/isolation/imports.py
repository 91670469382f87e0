"""Imports of the test environment's libraries, which lie in a folder that may not be listed."""

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType


class Libraries:
    """A finder of top-level modules by the folders and files that hold them."""

    def __init__(self, paths: Sequence[str]) -> None:
        suffixes = importlib.machinery.all_suffixes()
        self._places: dict[str, str] = {}
        for path in paths:
            name = os.path.basename(path)
            ending = next((each for each in suffixes if name.endswith(each)), "")
            self._places[name.removesuffix(ending)] = path

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a library; None for all else, parts of a library included."""
        place = self._places.get(name)
        if place is None:
            return None
        if not os.path.isdir(place):
            return importlib.util.spec_from_file_location(name, place)
        start = f"{place}/__init__.py"
        if os.path.exists(start):
            return importlib.util.spec_from_file_location(
                name, start, submodule_search_locations=[place]
            )
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [place]
        return spec


def install(paths: Sequence[str]) -> None:
    """Let this process and those that it forks import the libraries."""
    sys.meta_path.append(Libraries(paths))
