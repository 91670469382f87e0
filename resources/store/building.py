"""From a `Spec` to an artifact: its code version, its planner node, its build through the one door.

Knows specs and the warehouse; knows no recipe, no Dagster and nothing of what the functions do.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from resources.checkout import CHECKOUT
from resources.execution import Execution
from resources.models.precision import arithmetic
from resources.store.digests import Digests
from resources.store.spec import Spec
from resources.verifiers import code as code_verifier
from resources.verifiers.programs import sandbox
from warehouse.builds import Noted, noted
from warehouse.errors import WarehouseError
from warehouse.manifest import check_partition, label
from warehouse.planning.accept import record_equal
from warehouse.planning.code_version import CodeVersion, Sources, code_version, locate
from warehouse.planning.equivalence import Equivalence
from warehouse.planning.planner import Node, State, plan, state_of
from warehouse.store import Artifact, CheckFailed, CheckResult, Output, Request, Store

EQUIVALENCE = CHECKOUT / "assets" / "equivalence.json"
Code = CodeVersion
Build = Callable[[Path, Mapping[str, Artifact], dict[str, Any], Execution], Output]


def find_source(module: str) -> Path:
    """The file of a module of this repo, without importing it."""
    path = locate(module, CHECKOUT)
    if path is None:
        raise WarehouseError(f"there is no module {module} below {CHECKOUT}")
    return path


def code_of(spec: Spec, sources: Sources | None = None) -> Code:
    """The hand-bumped version of an expensive stage, else the hash of the code, read from disk."""
    if spec.version is not None:
        return Code(spec.version)
    return code_version(spec.fn, CHECKOUT, sources)


def codes_of(specs: Sequence[Spec], sources: Sources | None = None) -> dict[str, Code]:
    """`code_of` by asset key; specs of one module share its hash, one walk through its imports."""
    walked: dict[str, Code] = {}
    sources = sources or Sources()
    for spec in specs:
        module = spec.fn.partition(":")[0]
        if spec.version is None and module not in walked:
            walked[module] = code_of(spec, sources)
    return {
        spec.key: code_of(spec) if spec.version is not None else walked[spec.fn.partition(":")[0]]
        for spec in specs
    }


def equivalence() -> Equivalence:
    """The table of equivalence that the repo carries."""
    return Equivalence.read(EQUIVALENCE)


def nodes_of(
    specs: Sequence[Spec], digests: Digests | None = None, sources: Sources | None = None
) -> list[Node]:
    """What the planner needs to know of the specs, as they would be built now.

    A node an asset, or one for each of its partitions, in the given order.
    """
    digests, codes, table = digests or Digests(), codes_of(specs, sources), equivalence()
    partitions = {spec.key: tuple(spec.slices()) for spec in specs}
    nodes: list[Node] = []
    for spec in specs:
        inputs = {
            part: {
                argument(name, partition): label(key, partition)
                for name, key in spec.inputs_for(part).items()
                for partition in partitions.get(key, (None,))
            }
            for part in spec.slices()
        }
        observed = {part: digests.observed(spec, part) for part in spec.slices()}
        nodes += _nodes_of(spec, codes[spec.key], inputs, observed, table)
    return nodes


def _nodes_of(
    spec: Spec,
    code: Code,
    inputs: Mapping[str | None, Mapping[str, str]],
    observed: Mapping[str | None, Mapping[str, str]],
    table: Equivalence,
) -> Iterator[Node]:
    for partition, recipe in spec.slices().items():
        if partition is not None:
            check_partition(partition)
        yield Node(
            key=spec.key,
            inputs=inputs[partition],
            code_version=code.version,
            recipe=recipe,
            seed=spec.seed,
            observed=observed[partition],
            code_modules=code.modules,
            partition=partition,
            formers=table.formers(spec.fn, code.version),
        )


def states_of(store: Store, specs: Sequence[Spec]) -> list[tuple[Node, State]]:
    """The planner's word on every node of `nodes_of`; nothing is built or imported.

    What stands for what by the table of equivalence is recorded in the home, once.
    """
    digests = Digests(store.scratch / "digests.json")
    sources = Sources(store.scratch / "sources.json")
    nodes = nodes_of(specs, digests, sources)
    digests.save()
    sources.save()
    heads, wholes = store.heads(), store.wholes()
    found = plan(
        nodes,
        lambda key, partition: heads.get((key, partition)),
        store.resolve,
        store.damage,
        lambda key: wholes.get(key, {}),
        store.versions,
    )
    states = list(zip(nodes, found, strict=True))
    for node, state in states:
        if state.equal is not None:
            record_equal(store, node, state)
    return states


def argument(name: str, partition: str | None) -> str:
    """The name under which a build function finds an input, or one of its partitions."""
    return name if partition is None else f"{name}@{partition}"


def materialise(
    store: Store,
    spec: Spec,
    code: Code,
    execution: Execution | None = None,
    run_id: str | None = None,
    partition: str | None = None,
    inputs: Mapping[str, Artifact] | None = None,
) -> Artifact:
    """Build or restore one artifact from `inputs`, else from the current versions of its inputs.

    `partition` is one of the spec's, None where it has none. Raises WarehouseError where an input
    was never built, CheckFailed where a blocking check fails.
    """
    with noted(store, spec.key, partition, run_id) as note:
        given = inputs_of(store, spec) if inputs is None else inputs
        return _materialise(store, spec, code, given, execution, run_id, partition, note)


def _materialise(
    store: Store,
    spec: Spec,
    code: Code,
    inputs: Mapping[str, Artifact],
    execution: Execution | None,
    run_id: str | None,
    partition: str | None,
    note: Noted,
) -> Artifact:
    slices = spec.slices()
    if partition not in slices:
        there = ", ".join(spec.partitions) or "none"
        raise WarehouseError(f"{spec.key} has no partition {partition}; its partitions: {there}")
    inputs = inputs_of(store, spec, partition)

    # What the other partitions read was hashed before; what this one reads is hashed now.
    known = Digests(store.scratch / "digests.json")
    observed = {part: known.observed(spec, part) for part in slices if part != partition}
    observed[partition] = Digests(commits=known.commits).observed(spec, partition)
    files = (*spec.observe, *(path for path, *_ in spec.observe_of.get(partition or "", ())))
    own = (execution or Execution()).but(home=store.home, source=known.source(spec), observe=files)
    former = _settle(store, spec, code, partition, inputs, observed)

    return store.build(
        Request(
            spec.key,
            partition,
            _calling(spec.fn, note),
            inputs,
            slices[partition],
            spec.seed,
            code_version=code.version,
            layout=slices,
            code_modules=code.modules,
            observed=observed,
            versions=_versions_of(store, spec),
            reproducibility=spec.reproducibility,
            stage=spec.stage,
            model=spec.model,
        ),
        former_memos=former,
        execution=own,
        checks=[bind(target, inputs) for target in spec.checks],
        run_id=run_id,
    )


def _calling(target: str, note: Noted) -> Build:
    """The build function as the store calls it: in the recipe's arithmetic, its tiers noted."""

    def fn(
        workdir: Path,
        inputs: Mapping[str, Artifact],
        recipe: dict[str, Any],
        execution: Execution,
    ) -> Output:
        note.begin()
        build: Build = load(target)
        # In the key, and none of the function's business:
        running = {name: recipe[name] for name in code_verifier.RUNNING if name in recipe}
        own = {name: value for name, value in recipe.items() if name not in running}
        asked = recipe.get("dtype")  # without one nothing is set, and torch not imported for it
        computing = arithmetic(asked, execution.device) if asked else nullcontext()
        with computing, code_verifier.judging(**running), sandbox.noted() as tiers:
            output = build(workdir, inputs, own, execution)
        if tiers:  # beside the content: in every tier a program gets the same verdict
            output.observations["isolation"] = sorted(tiers)
        return output

    return fn


def _settle(
    store: Store,
    spec: Spec,
    code: Code,
    partition: str | None,
    inputs: Mapping[str, Artifact],
    observed: Mapping[str | None, Mapping[str, str]],
) -> tuple[str, ...]:
    """Record what former code made of the same; else the memo keys under which it began to."""
    labels = {name: artifact.label for name, artifact in inputs.items()}
    every = dict.fromkeys(spec.slices(), labels)
    for node in _nodes_of(spec, code, every, observed, equivalence()):
        if node.partition == partition and node.formers:
            versions = {name: artifact.data_version for name, artifact in inputs.items()}
            now = store.heads().get((spec.key, partition))
            state = state_of(node, versions, now, store.resolve, store.damage, store.versions)
            if state.equal is not None:
                record_equal(store, node, state)
            return state.former_memos
    return ()


def inputs_of(store: Store, spec: Spec, partition: str | None = None) -> dict[str, Artifact]:
    """The current versions of a partition's inputs by argument name; WarehouseError without one."""
    inputs: dict[str, Artifact] = {}
    for name, key in spec.inputs_for(partition).items():
        parts = store.parts(key)
        if not parts:
            begun = any(other == key for other, _ in store.heads())
            reason = "whose partitions are not all built" if begun else "which was never built"
            raise WarehouseError(f"{spec.key} needs {key}, {reason}: `heirloom run --select {key}`")
        one = "[" in key  # that of a partition, under the plain name
        inputs.update({argument(name, None if one else p): found for p, found in parts.items()})
    return inputs


def _versions_of(store: Store, spec: Spec) -> dict[str | None, dict[str, str] | None]:
    """The data versions of each partition's inputs, None where one of them was never built."""
    found: dict[str | None, dict[str, str] | None] = {}
    for partition in spec.slices():
        try:
            inputs = inputs_of(store, spec, partition)
        except WarehouseError:
            found[partition] = None
        else:
            found[partition] = {name: artifact.data_version for name, artifact in inputs.items()}
    return found


def checked(store: Store, spec: Spec, artifact: Artifact) -> list[CheckResult]:
    """The result of each of the spec's checks; those newer than the version are run now.

    Raises CheckFailed where such a newer blocking check fails.
    """
    known = {result.name: result for result in artifact.checks}
    inputs: dict[str, Artifact] = {}
    results: list[CheckResult] = []
    for target in spec.checks:
        result = known.get(check_name(target))
        if result is None:
            for name, entry in artifact.manifest["inputs"].items():
                made_from = store.memo(entry["memo_key"])
                if made_from is None:
                    raise WarehouseError(
                        f"{artifact.label}: the check {target} is new and reads the input {name}, "
                        f"{entry['asset_key']}@{entry['data_version'][:12]}, which is gone"
                    )
                inputs[name] = made_from
            result = bind(target, inputs)(artifact)
        results.append(result)
    if failed := [each for each in results if each.blocking and not each.passed]:
        reasons = "; ".join(f"{each.name}: {each.description or 'failed'}" for each in failed)
        raise CheckFailed(f"{artifact.label}: a check failed: {reasons}", results)
    return results


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
