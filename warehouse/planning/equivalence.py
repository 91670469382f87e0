"""The table of equivalence: versions of a function's code that make the same content.

Pure: it compares what would be built now with manifests of what was built by former code, and says
which of them it stands for. Which code is equivalent is the table's word, written by people
(`python -m jobs.maintenance.equivalence`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warehouse.errors import WarehouseError
from warehouse.manifest import memo_key, plain

_FIELDS = ("code", "reason", "inputs", "recipe")


@dataclass(frozen=True)
class Former:
    """One version of a function's code, and how what it was given was named then.

    `inputs` and `recipe` lead from today's names (of an argument; of a value, by its dotted path)
    to those of then; what is not there had the same name.
    """

    code: str
    reason: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, str] = field(default_factory=dict)

    def input_then(self, name: str) -> str:
        """The argument's name under that code; `name` may be `argument@partition`.

        >>> Former("a", inputs={"tokens": "corpus"}).input_then("tokens@1")
        'corpus@1'
        """
        argument, at, partition = name.partition("@")
        return f"{self.inputs.get(argument, argument)}{at}{partition}"

    def recipe_then(self, now: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe slice as it was written under that code.

        >>> Former("a", recipe={"sft.rate": "rate"}).recipe_then({"sft": {"rate": 1}, "b": 2})
        {'b': 2, 'sft': {}, 'rate': 1}
        """
        then: dict[str, Any] = plain(dict(now))
        for path, old in self.recipe.items():
            found, value = _take(then, path.split("."))
            if found:
                _put(then, old.split("."), value)
        return then


class Equivalence:
    """The table: by function, the code versions that make the same content, oldest first."""

    def __init__(self, classes: Mapping[str, Sequence[Former]] | None = None) -> None:
        self.classes = {name: tuple(each) for name, each in (classes or {}).items()}

    @classmethod
    def read(cls, file: Path) -> Equivalence:
        """The table in a JSON file; an absent file is an empty table.

        Raises WarehouseError, naming the function, for an entry that is none.
        """
        if not file.is_file():
            return cls()
        classes: dict[str, list[Former]] = {}
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            for function, entries in document.items():
                for entry in entries:
                    if unknown := set(entry) - set(_FIELDS):
                        raise WarehouseError(
                            f"{file}: {function}: unknown {', '.join(sorted(unknown))}; an entry "
                            f"has {', '.join(_FIELDS)}"
                        )
                    classes.setdefault(function, []).append(Former(**entry))
        except (ValueError, TypeError, AttributeError) as error:
            raise WarehouseError(f"{file} is no table of equivalence: {error}") from error
        return cls(classes)

    def write(self, file: Path) -> None:
        """The table as JSON, sorted by function."""
        document = {
            function: [
                {name: value for name in _FIELDS if (value := getattr(each, name))}
                for each in entries
            ]
            for function, entries in sorted(self.classes.items())
        }
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def formers(self, function: str, code: str) -> tuple[Former, ...]:
        """The other code versions that make what this one makes, the newest first."""
        members = self.classes.get(function, ())
        if code not in {each.code for each in members}:
            return ()
        return tuple(each for each in reversed(members) if each.code != code)


def stands_for(
    formers: Iterable[Former],
    manifests: Sequence[Mapping[str, Any]],
    *,
    recipe: Mapping[str, Any],
    seed: int,
    inputs: Mapping[str, str],
    observed: Mapping[str, str],
) -> tuple[Mapping[str, Any], Former] | None:
    """The built version that is the same as what would be built now, and under which code; or None.

    `manifests` are those of the asset (or partition), the preferred first; `inputs` argument name
    (of today) → data version. An input of then that today's code does not read does not count.
    """
    for former in formers:
        slice_then = former.recipe_then(recipe)
        for manifest in manifests:
            built = manifest["inputs"]
            if (
                manifest["code_version"] == former.code
                and manifest["seed"] == seed
                and manifest["observed"] == dict(observed)
                and manifest["recipe"] == slice_then
                and all(
                    built.get(former.input_then(name), {}).get("data_version") == version
                    for name, version in inputs.items()
                )
            ):
                return manifest, former
    return None


def former_memos(
    formers: Iterable[Former],
    *,
    key: str,
    partition: str | None,
    recipe: Mapping[str, Any],
    seed: int,
    inputs: Mapping[str, str],
    observed: Mapping[str, str],
) -> list[str]:
    """The memo keys under which former code would have built the same: its unfinished work."""
    return [
        memo_key(
            key,
            partition,
            former.code,
            former.recipe_then(recipe),
            seed,
            {former.input_then(name): version for name, version in inputs.items()},
            observed,
        )
        for former in formers
    ]


def _take(tree: dict[str, Any], path: Sequence[str]) -> tuple[bool, Any]:
    *above, last = path
    for name in above:
        tree = tree.get(name, {})
        if not isinstance(tree, dict):
            return False, None
    return (True, tree.pop(last)) if last in tree else (False, None)


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *above, last = path
    for name in above:
        tree = tree.setdefault(name, {})
    tree[last] = value
