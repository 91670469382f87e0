"""From a `Spec` to an artifact: its code version, its planner node, its build through the one door.

Knows specs and the warehouse; knows no recipe, no Dagster and nothing of what the functions do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resources.store.home import CHECKOUT
from resources.store.spec import Spec
from warehouse.code_version import CodeVersion, code_version, locate
from warehouse.errors import WarehouseError
from warehouse.planner import Node, State, plan
from warehouse.store import Artifact, CheckResult, Output, Store
from warehouse.verify import local_digest

Code = CodeVersion
Build = Callable[[Path, Mapping[str, Artifact], dict[str, Any], dict[str, Any]], Output]


def find_source(module: str) -> Path:
    """The file of a module of this repo, without importing it."""
    path = locate(module, CHECKOUT)
    if path is None:
        raise WarehouseError(f"there is no module {module} below {CHECKOUT}")
    return path


def code_of(spec: Spec) -> Code:
    """The hand-bumped version of an expensive stage, else the hash of the code, read from disk."""
    if spec.version is not None:
        return Code(spec.version)
    return code_version(spec.fn, CHECKOUT)


def codes_of(specs: Sequence[Spec]) -> dict[str, Code]:
    """`code_of` by asset key; specs of one module share its hash, one walk through its imports."""
    walked: dict[str, Code] = {}
    for spec in specs:
        module = spec.fn.partition(":")[0]
        if spec.version is None and module not in walked:
            walked[module] = code_of(spec)
    return {
        spec.key: code_of(spec) if spec.version is not None else walked[spec.fn.partition(":")[0]]
        for spec in specs
    }


def node_of(spec: Spec, code: Code | None = None, digests: Digests | None = None) -> Node:
    """What the planner needs to know of a spec, as it would be built now."""
    code = code or code_of(spec)
    return Node(
        key=spec.key,
        inputs=spec.inputs,
        code_version=code.version,
        recipe=spec.recipe,
        seed=spec.seed,
        observed=(digests or Digests()).observed(spec),
        code_modules=code.modules,
    )


def states_of(store: Store, specs: Sequence[Spec]) -> list[tuple[Node, State]]:
    """The planner's word on every spec, in the given order; nothing is built or imported."""
    digests = Digests(store.scratch / "digests.json")
    codes = codes_of(specs)
    nodes = [node_of(spec, codes[spec.key], digests) for spec in specs]
    digests.save()
    currents = store.currents()
    found = plan(
        nodes,
        lambda key, partition: currents.get((key, partition)),
        store.resolve,
        store.damage,
    )
    return list(zip(nodes, found, strict=True))


def materialise(
    store: Store,
    spec: Spec,
    code: Code,
    execution: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> Artifact:
    """Build or restore one artifact from the current versions of its inputs.

    Raises WarehouseError where an input was never built, CheckFailed where a blocking check fails.
    """
    inputs: dict[str, Artifact] = {}
    for name, key in spec.inputs.items():
        artifact = store.current(key)
        if artifact is None:
            raise WarehouseError(
                f"{spec.key} needs {key}, which was never built: `heirloom run --select {key}`"
            )
        inputs[name] = artifact
    node = node_of(spec, code)

    def fn(
        workdir: Path,
        inputs: Mapping[str, Artifact],
        recipe: dict[str, Any],
        execution: dict[str, Any],
    ) -> Output:
        build: Build = load(spec.fn)
        return build(workdir, inputs, recipe, execution)

    return store.build(
        spec.key,
        None,
        fn,
        inputs,
        spec.recipe,
        spec.seed,
        code_version=node.code_version,
        code_modules=node.code_modules,
        observed=node.observed,
        execution={**(execution or {}), "source": spec.source, "observe": list(spec.observe)},
        checks=[bind(target, inputs) for target in spec.checks],
        reproducibility=spec.reproducibility,
        stage=spec.stage,
        model=spec.model,
        run_id=run_id,
    )


def bind(target: str, inputs: Mapping[str, Artifact]) -> Callable[[Artifact], CheckResult]:
    """A check as the store calls it; its result bears the name of its function."""

    def check(artifact: Artifact) -> CheckResult:
        result: CheckResult = load(target)(artifact, inputs)
        return dataclasses.replace(result, name=check_name(target))

    return check


def check_name(target: str) -> str:
    """The name of the check "module:function"."""
    return target.partition(":")[2]


def load(target: str) -> Any:
    """The object that "module:name" names; imports its module."""
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise WarehouseError(f"{target} cannot be loaded: {error}") from error


class Digests:
    """Content hashes of files outside the graph, kept between processes by size and time."""

    def __init__(self, memory: Path | None = None) -> None:
        self.memory = memory
        self.known: dict[str, list[Any]] = {}
        self.changed = False
        if memory is not None and memory.is_file():
            try:
                self.known = json.loads(memory.read_text())
            except ValueError:
                self.known = {}  # only a cache: everything is hashed again

    def observed(self, spec: Spec) -> dict[str, str]:
        """Name -> content hash of the spec's source and observed files; names hold no folders."""
        found: dict[str, str] = {}
        if spec.source is not None:
            found["source"] = self._source(spec)
        for path in spec.observe:
            name = Path(path).name
            while name in found:
                name += "'"
            found[name] = self.digest(Path(path))
        return found

    def _source(self, spec: Spec) -> str:
        path = Path(str(spec.source))
        if path.exists():
            return self.digest(path)
        if path.is_absolute() or str(spec.source).startswith("."):
            raise WarehouseError(
                f"{spec.key}: its source {path} is gone; put it back or name another"
            )
        return f"hub:{spec.source}"  # a hub id: its revision is part of the recipe

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, or of a folder's names and contents; hidden files do not count.

        A missing folder counts as an empty one, so that making it changes nothing.
        """
        if path.is_file():
            return self._file(path)
        total = hashlib.sha256()
        for file in sorted(item for item in path.rglob("*") if item.is_file()):
            relative = file.relative_to(path)
            if not any(part.startswith(".") for part in relative.parts):
                total.update(f"{relative.as_posix()}\n{self._file(file)}\n".encode())
        return total.hexdigest()

    def _file(self, path: Path) -> str:
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns]
        entry = self.known.get(str(path))
        if entry is None or entry[:2] != state:
            entry = [*state, local_digest(path)]
            self.known[str(path)] = entry
            self.changed = True
        return str(entry[2])

    def save(self) -> None:
        """Keep what was hashed for the next process; a home that is not there stays so."""
        if self.changed and self.memory is not None and self.memory.parent.is_dir():
            aside = self.memory.with_name(f".{self.memory.name}.{os.getpid()}")
            aside.write_text(json.dumps(self.known))
            os.replace(aside, self.memory)
