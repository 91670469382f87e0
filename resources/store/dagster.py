"""The Dagster face of the store: one asset definition from one `Spec`, built through the one door.

Knows how artifacts are shown in Dagster (groups, kinds, metadata, checks); knows nothing of what
any stage does and never decides what is stale: that is the planner's.
"""

import ast
import base64
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from resources.checkout import CHECKOUT
from resources.execution import Execution
from resources.store.building import Code, check_name, checked, find_source, materialise
from resources.store.home import Home
from resources.store.preview import preview
from resources.store.processes import TAG, claim
from resources.store.spec import Spec
from warehouse.manifest import label, whole_version
from warehouse.planning.code_version import locate
from warehouse.store import Artifact, CheckFailed, CheckResult, Store

OWNER = "team:heirloom"
IMAGE_BYTES = 100_000  # images are kept in Dagster's event database: larger ones stay in the lake


@dataclass
class Builder:
    """What asset bodies work with: the home and the execution settings, none of which is keyed.

    A plain object given to Dagster as the resource `builder`. `failures`: what a worker process
    could not build, by label; it is raised instead of building once more. `started` is told of each
    asset that a run begins, before anything else.
    """

    home: str
    execution: Execution = field(default_factory=Execution)
    failures: dict[str, Exception] = field(default_factory=dict)
    started: Callable[[], None] | None = None


def asset_definition(spec: Spec, code: Code) -> dg.AssetsDefinition:
    """The Dagster asset of one spec: its key, group, dependencies, checks and thin body.

    A run builds the partitions that it names, one or a range, or all of them where it names none,
    as the runs of the sensor and of jobs over several assets do: one that fails does not keep the
    others from being built. (Dagster itself wants one named where a partitioned asset reads another
    partitioned one.)
    """

    @dg.multi_asset(
        name=spec.key.replace("/", "__"),
        specs=[asset_spec(spec, code)],
        check_specs=[check_spec(spec, check) for check in spec.checks],
        pool=spec.pool,
        required_resource_keys={"builder"},
        partitions_def=dg.StaticPartitionsDefinition(list(spec.partitions))
        if spec.partitions
        else None,
        backfill_policy=dg.BackfillPolicy.single_run() if spec.partitions else None,
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        builder: Builder = context.resources.builder
        if builder.started is not None:
            builder.started()
        if TAG not in context.run_tags:
            token = claim(Home(Path(builder.home)).processes)
            context.instance.add_run_tags(context.run_id, {TAG: token})
        keys, exact = asked(spec, context)
        store, made, failures = Store(builder.home), list[Made](), dict[str | None, Exception]()
        for partition in keys:
            try:
                made.append(_make(store, spec, code, builder, context.run_id, partition))
            except CheckFailed as error:
                for result in error.results:
                    context.log_event(_evaluation(spec, result, partition))
                failures[partition] = error
            except Exception as error:
                failures[partition] = error
        if not failures:
            yield materialize_result(made, exact)
        if failures or not exact:
            for each in made:  # after the result, whose one version stands for all partitions
                context.log_event(_materialization(each.artifact, code))
        _raise(spec, failures, exact)

    return body


@dataclass(frozen=True)
class Made:
    """An artifact that a run built or restored, with the results of its checks."""

    artifact: Artifact
    checks: list[CheckResult]


def asked(spec: Spec, context: dg.AssetExecutionContext) -> tuple[list[str | None], bool]:
    """The partitions that a run builds, and whether it names exactly one (or there are none)."""
    if not spec.partitions:
        return [None], True
    if context.has_partition_key or context.has_partition_key_range:
        keys: list[str | None] = list(context.partition_keys)
        return keys, len(keys) == 1
    return list(spec.partitions), False


def _make(
    store: Store, spec: Spec, code: Code, builder: Builder, run_id: str, partition: str | None
) -> Made:
    known = builder.failures.pop(label(spec.key, partition), None)
    if known is not None:
        raise known
    artifact = materialise(store, spec, code, builder.execution, run_id, partition)
    return Made(artifact, checked(store, spec, artifact))


def _raise(spec: Spec, failures: Mapping[str | None, Exception], exact: bool) -> None:
    """Fail the step with the one error, or with those of all partitions that failed."""
    errors = list(failures.values())
    if errors and exact and not isinstance(errors[0], CheckFailed):
        raise errors[0]
    if errors:
        named = (f"{label(spec.key, name)}: {error}" for name, error in failures.items())
        text = str(errors[0]) if exact else "; ".join(named)
        raise dg.Failure(text, allow_retries=False) from errors[0]


def materialize_result(made: Sequence[Made], exact: bool) -> dg.MaterializeResult[Any]:
    """What Dagster is told of one artifact, or of several partitions together."""
    if exact:
        [one] = made
        version, shown = one.artifact.data_version, metadata(one.artifact)
        checks = [check_result(result, one.artifact.partition) for result in one.checks]
    else:
        versions = {str(m.artifact.partition): m.artifact.data_version for m in made}
        version = whole_version(versions)
        shown = {
            "data_version": dg.MetadataValue.text(version),
            "dagster/row_count": dg.MetadataValue.int(sum(m.artifact.rows for m in made)),
            "partitions": dg.MetadataValue.json(versions),
        }
        checks = [check_result(result) for result in _together(made)]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version), metadata=shown, check_results=checks
    )


def _together(made: Sequence[Made]) -> list[CheckResult]:
    """The results of each check over several partitions as one."""
    by_name: dict[str, list[tuple[str, CheckResult]]] = {}
    for each in made:
        for result in each.checks:
            by_name.setdefault(result.name, []).append((str(each.artifact.partition), result))
    return [
        CheckResult(
            name,
            all(result.passed for _, result in results),
            "; ".join(f"{part}: {result.description or result.passed}" for part, result in results),
            {part: result.metadata for part, result in results},
            results[0][1].blocking,
        )
        for name, results in by_name.items()
    ]


def _materialization(artifact: Artifact, code: Code) -> dg.AssetMaterialization:
    """One partition's own event, of a run that names several or none."""
    versions = {"data": artifact.data_version, "code": code.version}
    return dg.AssetMaterialization(
        dg.AssetKey(artifact.key.split("/")),
        partition=artifact.partition,
        metadata=metadata(artifact),
        tags={f"dagster/{name}_version": version for name, version in versions.items()},
    )


def asset_spec(spec: Spec, code: Code) -> dg.AssetSpec:
    """Key, group, dependencies and description of one spec, as Dagster shows them."""
    tags = {"heirloom/reproducibility": spec.reproducibility}
    if spec.model:
        tags["heirloom/model"] = spec.model
    every = dg.AllPartitionMapping() if spec.partitions else None  # else Dagster's own default
    keys = [dg.AssetKey(key.split("/")) for key in sorted(spec.reads())]
    return dg.AssetSpec(
        dg.AssetKey(spec.key.split("/")),
        deps=[dg.AssetDep(key, partition_mapping=every) for key in keys],
        description=spec.description or None,
        group_name=spec.stage,
        code_version=code.version,
        owners=[OWNER],
        tags=tags,
        kinds=set(spec.kinds[:3]),  # Dagster accepts three
    )


def check_spec(spec: Spec, target: str) -> dg.AssetCheckSpec:
    """The check's face; its first docstring line is read without importing its module."""
    return dg.AssetCheckSpec(
        check_name(target),
        asset=dg.AssetKey(spec.key.split("/")),
        description=_summary(target),
        blocking=True,
    )


def check_result(result: CheckResult, partition: str | None = None) -> dg.AssetCheckResult:
    """A check's result as Dagster's; a failed one that does not block is a warning."""
    severity = dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN
    own = {} if partition is None else {"partition": partition}
    return dg.AssetCheckResult(
        check_name=result.name,
        passed=result.passed,
        severity=severity,
        description=result.description or None,
        metadata={name: _metadata_value(v) for name, v in (own | result.metadata).items()},
    )


def metadata(artifact: Artifact) -> dict[str, dg.MetadataValue[Any]]:
    """What one materialisation shows: rows, schema, preview, pictures, path, hash, seconds."""
    manifest, shown = artifact.manifest, dict[str, dg.MetadataValue[Any]]()
    shown["data_version"] = dg.MetadataValue.text(artifact.data_version)
    shown["memo_key"] = dg.MetadataValue.text(artifact.memo_key)
    if artifact.partition is not None:
        shown["partition"] = dg.MetadataValue.text(artifact.partition)
    if manifest["tables"]:
        shown["dagster/row_count"] = dg.MetadataValue.int(artifact.rows)
    for position, name in enumerate(manifest["tables"]):
        label = "dagster/column_schema" if position == 0 else f"{name}_schema"
        shown[label] = dg.MetadataValue.table_schema(_schema(artifact, name))
        shown[f"{name}_preview"] = dg.MetadataValue.md(preview(artifact, name))
        if len(manifest["tables"]) > 1:
            shown[f"{name}_rows"] = dg.MetadataValue.int(int(manifest["tables"][name]["rows"]))
    for name, value in artifact.metrics.items():
        shown[name] = dg.MetadataValue.float(value)
    for name in manifest["images"]:
        data = artifact.image(name)
        if len(data) <= IMAGE_BYTES:
            picture = base64.b64encode(data).decode()
            shown[name] = dg.MetadataValue.md(f"![{name}](data:image/png;base64,{picture})")
    if manifest["files"]:
        shown["path"] = dg.MetadataValue.path(artifact.path())
    shown["bytes"] = dg.MetadataValue.int(int(manifest["bytes"]))
    shown["inputs"] = dg.MetadataValue.json(manifest["inputs"])
    shown["recipe"] = dg.MetadataValue.json(manifest["recipe"])
    for name, value in artifact.observations.items():
        shown.setdefault(name, _metadata_value(value))
    return {name: value for name, value in shown.items() if value is not None}


def _schema(artifact: Artifact, table: str) -> dg.TableSchema:
    batch = next(iter(artifact.batches(table, batch_size=1)), None)
    fields = [] if batch is None else list(batch.schema)
    return dg.TableSchema([dg.TableColumn(item.name, str(item.type)) for item in fields])


def _metadata_value(value: Any) -> dg.MetadataValue[Any]:
    if value is None:
        return dg.MetadataValue.null()
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    if isinstance(value, str):
        return dg.MetadataValue.text(value)
    return dg.MetadataValue.json(value)


def _evaluation(spec: Spec, result: CheckResult, partition: str | None) -> dg.AssetCheckEvaluation:
    shown = check_result(result, partition)
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(spec.key.split("/")),
        check_name=result.name,
        passed=result.passed,
        metadata=dict(shown.metadata),
        severity=shown.severity,
        description=shown.description,
        blocking=result.blocking,
    )


@functools.cache
def _docstrings(module: str) -> Mapping[str, str]:
    """Docstring by name of the functions that a module defines or imports from the repo."""
    found: dict[str, str] = {}
    for node in ast.parse(find_source(module).read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.ImportFrom) and node.module and locate(node.module, CHECKOUT):
            found.update({a.name: _docstrings(node.module).get(a.name, "") for a in node.names})
    return found


def _summary(target: str) -> str | None:
    module, _, name = target.partition(":")
    return _docstrings(module).get(name, "").partition("\n")[0] or None
