"""The Dagster face of the store: one asset definition from one `Spec`, built through the one door.

Knows how artifacts are shown in Dagster (groups, kinds, metadata, checks); knows nothing of what
any stage does and never decides what is stale: that is the planner's.
"""

import ast
import base64
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from resources.store.building import Code, bind, check_name, find_source, materialise
from resources.store.home import CHECKOUT, Home
from resources.store.processes import TAG, claim
from resources.store.spec import Spec
from warehouse.code_version import locate
from warehouse.store import Artifact, CheckFailed, CheckResult, Store

OWNER = "team:heirloom"
PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 100
IMAGE_BYTES = 100_000  # images are kept in Dagster's event database: larger ones stay in the lake


@dataclass
class Builder:
    """What asset bodies work with: the home and the execution settings, none of which is keyed.

    A plain object given to Dagster as the resource `builder`; the driver's has a `progress`, told
    the running stage's message and fraction (0..1).
    """

    home: str
    execution: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[str, float], None] | None = None


def asset_definition(spec: Spec, code: Code) -> dg.AssetsDefinition:
    """The Dagster asset of one spec: its key, group, dependencies, checks and thin body."""

    @dg.multi_asset(
        name=spec.key.replace("/", "__"),
        specs=[asset_spec(spec, code)],
        check_specs=[check_spec(spec, check) for check in spec.checks],
        pool=spec.pool,
        required_resource_keys={"builder"},
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        builder: Builder = context.resources.builder
        execution = {**builder.execution, "progress": builder.progress}
        if TAG not in context.run_tags:
            token = claim(Home(Path(builder.home)).processes)
            context.instance.add_run_tags(context.run_id, {TAG: token})
        try:
            store = Store(builder.home)
            artifact = materialise(store, spec, code, execution, context.run_id)
            results = checked(store, spec, artifact)
        except CheckFailed as error:
            for result in error.results:
                context.log_event(_evaluation(spec, result))
            raise dg.Failure(str(error), allow_retries=False) from error
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(artifact.data_version),
            metadata=metadata(artifact),
            check_results=[check_result(result) for result in results],
        )

    return body


def asset_spec(spec: Spec, code: Code) -> dg.AssetSpec:
    """Key, group, dependencies and description of one spec, as Dagster shows them."""
    tags = {"heirloom/reproducibility": spec.reproducibility}
    if spec.model:
        tags["heirloom/model"] = spec.model
    return dg.AssetSpec(
        dg.AssetKey(spec.key.split("/")),
        deps=[dg.AssetKey(key.split("/")) for key in sorted(set(spec.inputs.values()))],
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
                inputs.setdefault(name, store.at(entry["asset_key"], entry["data_version"]))
            result = bind(target, inputs)(artifact)
        results.append(result)
    if failed := [each for each in results if each.blocking and not each.passed]:
        reasons = "; ".join(f"{each.name}: {each.description or 'failed'}" for each in failed)
        raise CheckFailed(f"{artifact.key}: a check failed: {reasons}", results)
    return results


def check_result(result: CheckResult) -> dg.AssetCheckResult:
    """A check's result as Dagster's; a failed one that does not block is a warning."""
    severity = dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        check_name=result.name,
        passed=result.passed,
        severity=severity,
        description=result.description or None,
        metadata={name: _metadata_value(value) for name, value in result.metadata.items()},
    )


def metadata(artifact: Artifact) -> dict[str, dg.MetadataValue[Any]]:
    """What one materialisation shows: rows, schema, preview, pictures, path, hash, seconds."""
    manifest, shown = artifact.manifest, dict[str, dg.MetadataValue[Any]]()
    shown["data_version"] = dg.MetadataValue.text(artifact.data_version)
    shown["memo_key"] = dg.MetadataValue.text(artifact.memo_key)
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


def preview(artifact: Artifact, table: str, rows: int = PREVIEW_ROWS) -> str:
    """The first rows of a table in Markdown, long cells cut, ids and hashes as hex."""
    batch = next(iter(artifact.batches(table, batch_size=rows)), None)
    if batch is None or not batch.num_rows:
        return "(no rows)"
    names = batch.schema.names
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in itertools.islice(batch.to_pylist(), rows):
        lines.append("| " + " | ".join(_cell(row[name]) for name in names) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        text = value.hex()
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = str(value)
    if len(text) > PREVIEW_CHARACTERS:
        text = text[: PREVIEW_CHARACTERS - 1] + "…"
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", "⏎")


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


def _evaluation(spec: Spec, result: CheckResult) -> dg.AssetCheckEvaluation:
    shown = check_result(result)
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
