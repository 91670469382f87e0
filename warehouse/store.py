"""The one door: every artifact is built, published, restored and read through `Store`.

Takes plain functions and values; knows no recipe, no Dagster, no torch.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import shutil
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from warehouse import rejected
from warehouse.artifact import Artifact, Output
from warehouse.checks import CheckFailed, CheckResult
from warehouse.errors import RowsRejected, WarehouseError, explain, number
from warehouse.files import locks
from warehouse.manifest import data_version, jsonable, libraries, whole_version
from warehouse.request import Check, Request
from warehouse.unfinished import folder_of, take_up
from warehouse.versions import Versions, pointer

__all__ = ["Artifact", "CheckFailed", "CheckResult", "Output", "Request", "Store", "WarehouseError"]


class Execution(Protocol):
    """How and where a build function runs, which never decides what it makes."""

    def recorded(self) -> Mapping[str, Any]:
        """What the manifest keeps of it."""


log = logging.getLogger("heirloom.store")


class Store(Versions):
    """Builds, publishes, restores and reads the versions of assets below one home."""

    def set_current(self, artifact: Artifact, *, reason: str = "") -> None:
        """Make a version the current one of its asset, or the head of its partition.

        For builds, restores and rollbacks. A version without partitions takes the place of all.
        """
        record = {
            "asset_key": artifact.key,
            "partition": artifact.partition,
            "memo_key": artifact.memo_key,
            "data_version": artifact.data_version,
            "since": _now(),
            "reason": reason,
        }
        path = pointer(artifact.key, artifact.partition)
        there = self.document(path)
        if there is not None and "partitions" in there:
            self.retire(artifact.key, {})
        if there is None or there.get("memo_key") != artifact.memo_key:
            self.files.write(path, json.dumps(record, indent=1).encode())

    def become_whole(self, key: str, memos: Mapping[str, str]) -> bool:
        """Show readers these versions of a partitioned asset, once each is its partition's head.

        `memos`: partition → memo key, built or accepted. Says whether that is so. Heads of other
        partitions go first: a kill in between leaves what readers see as it was, and the planner
        asks for the rest.
        """
        found: dict[str, dict[str, Any]] = {}
        for partition, memo in memos.items():
            known, head = self.resolve(memo), self.document(pointer(key, partition))
            if known is None or head is None or head["memo_key"] != known["memo_key"]:
                return False
            found[partition] = known
        self.retire(key, memos)
        version = whole_version({name: known["data_version"] for name, known in found.items()})
        partitions = {name: known["memo_key"] for name, known in found.items()}
        record = {"asset_key": key, "data_version": version, "partitions": partitions}
        there = self.document(pointer(key, None))
        if there is None or there.get("partitions") != partitions:
            self.files.write(f"wholes/{key}@{version}.json", json.dumps(record, indent=1).encode())
            record["since"] = _now()
            self.files.write(pointer(key, None), json.dumps(record, indent=1).encode())
        return True

    def retire(self, key: str, keep: Container[str]) -> None:
        """Remove the heads of partitions that the asset no longer has; their versions stay."""
        folder = pointer(key, None).rpartition("/")[0]
        for entry in list(self.files.entries(folder, ".json")):
            name = entry.path.removesuffix(".json").partition(f"current/{key}@")[2]
            if name and name not in keep:
                self.files.delete(entry.path)

    def build(
        self,
        request: Request,
        *,
        execution: Execution | None = None,
        checks: Sequence[Check] = (),
        former_memos: Sequence[str] = (),
        run_id: str | None = None,
    ) -> Artifact:
        """The version that is asked for: restored when known, else built, checked, published.

        `fn(workdir, inputs, recipe, execution) -> Output` runs in a folder below `work/` that
        survives kills; what equivalent code began under one of `former_memos` is taken up there.
        Either way the version becomes current; readers see a partition once all of them are built.
        Raises `CheckFailed` when a blocking check fails, and `WarehouseError` for anything else;
        errors of `fn` pass through.
        """
        key, partition, memo = request.key, request.partition, request.memo
        with self._alone(request):
            known = self.resolve(memo)
            if known is None or self.damage(known) is not None:
                began = time.monotonic()
                work = take_up(self.scratch, key, partition, memo, former_memos)
                manifest, observations = self._run(request, work, execution)
                results = self._check(self.artifact(manifest), checks)
                manifest["checks"] = [jsonable(dataclasses.asdict(result)) for result in results]
                manifest["observations"] = {
                    **observations,
                    "materialized_at": _now(),
                    "seconds": time.monotonic() - began,
                    "run_id": run_id,
                }
                known = self._publish(manifest)
            artifact = self.artifact(known)
            self.set_current(artifact)
            if partition is not None and len(request.memos) == len(request.layout):
                self.become_whole(key, {str(name): each for name, each in request.memos.items()})
            shutil.rmtree(folder_of(self.scratch, key, partition, memo), ignore_errors=True)
        return artifact

    @contextmanager
    def _alone(self, request: Request) -> Iterator[None]:
        """Keep collections and other builds of the same version away for a while."""

        def waiting(who: str) -> None:
            log.info("%s: waiting for %s, which builds it", request.label, who)

        folder = self.scratch / "locks"
        with locks.shared(folder / "gc"), locks.held(folder / request.memo, waiting=waiting):
            yield

    def _run(
        self, request: Request, work: Path, execution: Execution | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Build the version and store its content; the unpublished manifest, and observations."""
        key, spill = request.key, self.scratch / "work" / f".spill-{request.memo}"
        try:
            output = request.fn(work, request.inputs, request.given(), execution)
            written = self._write(key, output, spill)
        except RowsRejected as error:
            rejected.keep(self.files, key, request.partition, error.rows)
            raise
        except Exception as error:
            code = number(error)
            if code in (errno.ENOSPC, errno.EDQUOT):
                raise explain(OSError(code, str(error)), f"build {key}") from error
            raise
        rejected.forget(self.files, key, request.partition)
        manifest = {
            **request.manifest(),
            "libraries": libraries(),
            "execution": {} if execution is None else jsonable(execution.recorded()),
            "checks": [],
            **written,
        }
        return manifest, jsonable(output.observations)

    def _publish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Put the manifest where readers look; the one that stands there in the end."""
        path = f"manifests/{manifest['memo_key']}.json"
        body = json.dumps(manifest, indent=1).encode()
        if not self.files.create(path, body):
            # A damaged version is healed by its own rebuild; a sound one that another machine
            # published meanwhile is kept.
            there = self.document(path)
            if there is not None and self.damage(there) is None:
                return there
            self.files.write(path, body)
        return manifest

    def _write(self, key: str, output: Output, spill: Path) -> dict[str, Any]:
        if not isinstance(output, Output):
            raise WarehouseError(
                f"{key}: the build function returned {type(output).__name__}, should be Output"
            )
        tables = {
            name: self.lake.write(name, key, data, spill) for name, data in output.tables.items()
        }
        files = self.checkpoints.add(output.files, key)
        images = {name: self.checkpoints.add_bytes(data) for name, data in output.images.items()}
        return {
            "data_version": data_version(tables, files),
            "tables": tables,
            "files": files,
            "images": images,
            "metrics": {name: float(value) for name, value in output.metrics.items()},
            "observations": {},
            "rows": sum(table["rows"] for table in tables.values()),
            "bytes": sum(table["bytes"] for table in tables.values())
            + sum(entry["bytes"] for entry in files.values()),
        }

    @staticmethod
    def _check(artifact: Artifact, checks: Sequence[Check]) -> list[CheckResult]:
        results = [check(artifact) for check in checks]
        failed = [result for result in results if result.blocking and not result.passed]
        if failed:
            reasons = "; ".join(f"{r.name}: {r.description or 'failed'}" for r in failed)
            raise CheckFailed(
                f"{artifact.label} is not published, a check failed: {reasons}", results
            )
        return results


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
