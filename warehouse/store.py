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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from warehouse import locks
from warehouse.artifact import Artifact, CheckResult, Output
from warehouse.errors import CheckFailed, WarehouseError, explain, explained
from warehouse.manifest import (
    FORMAT,
    check_key,
    data_version,
    derived_seed,
    digest,
    jsonable,
    libraries,
    memo_key,
    plain,
)
from warehouse.versions import Versions, pointer

__all__ = ["Artifact", "CheckFailed", "CheckResult", "Output", "Store", "WarehouseError"]

Build = Callable[[Path, Mapping[str, Artifact], dict[str, Any], dict[str, Any]], Output]
Check = Callable[[Artifact], CheckResult]

log = logging.getLogger("heirloom.store")


class Store(Versions):
    """Builds, publishes, restores and reads the versions of assets below one home."""

    def set_current(self, artifact: Artifact, *, reason: str = "") -> None:
        """Make a version the current one of its asset (build, restore, rollback)."""
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
        if there is None or there["memo_key"] != artifact.memo_key:
            self.files.write(path, json.dumps(record, indent=1).encode())

    def build(
        self,
        key: str,
        partition: str | None,
        fn: Build,
        inputs: Mapping[str, Artifact],
        recipe_slice: Mapping[str, Any],
        seed: int,
        *,
        code_version: str,
        code_modules: Mapping[str, str] | None = None,
        observed: Mapping[str, str] | None = None,
        execution: Mapping[str, Any] | None = None,
        checks: Sequence[Check] = (),
        reproducibility: str = "exact",
        stage: str = "",
        model: str | None = None,
        run_id: str | None = None,
    ) -> Artifact:
        """The version with this memo key: restored when known, else built, checked, published.

        `fn(workdir, inputs, recipe, execution) -> Output` runs in `work/<memo key>/`, which
        survives kills. `recipe` is the slice plus `seed` (derived) and `asset_key`. Either way
        the version becomes current. Raises `CheckFailed` when a blocking check fails, and
        `WarehouseError` for anything else; errors of `fn` pass through.
        """
        check_key(key)
        versions = {name: artifact.data_version for name, artifact in inputs.items()}
        memo = memo_key(key, partition, code_version, recipe_slice, seed, versions, observed or {})
        with ExitStack() as stack:
            stack.enter_context(locks.shared(self.scratch / "locks" / "gc"))
            stack.enter_context(
                locks.held(
                    self.scratch / "locks" / memo,
                    waiting=lambda who: log.info("%s: waiting for %s, which builds it", key, who),
                )
            )
            known = self.resolve(memo)
            if known is None or self.damage(known) is not None:
                known = self._build(
                    key,
                    partition,
                    fn,
                    inputs,
                    plain(dict(recipe_slice)),
                    seed,
                    memo,
                    dict(execution or {}),
                    checks,
                    {
                        "stage": stage,
                        "model": model,
                        "reproducibility": reproducibility,
                        "code_version": code_version,
                        "code_modules": dict(code_modules or {}),
                        "observed": dict(observed or {}),
                    },
                    run_id,
                )
            artifact = self.artifact(known)
            self.set_current(artifact)
            shutil.rmtree(self.scratch / "work" / memo, ignore_errors=True)
        return artifact

    def _build(
        self,
        key: str,
        partition: str | None,
        fn: Build,
        inputs: Mapping[str, Artifact],
        recipe: dict[str, Any],
        seed: int,
        memo: str,
        execution: dict[str, Any],
        checks: Sequence[Check],
        facts: dict[str, Any],
        run_id: str | None,
    ) -> dict[str, Any]:
        work = self.scratch / "work" / memo
        with explained(f"make the work folder {work}"):
            work.mkdir(parents=True, exist_ok=True)
        execution.setdefault("home", self.home)
        own = recipe | {
            "seed": derived_seed(seed, key, partition),
            "asset_key": key,
        }
        began = time.monotonic()
        try:
            output = fn(work, inputs, own, execution)
            manifest = self._write(key, output, self.scratch / "work" / f".spill-{memo}")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise explain(error, f"build {key}") from error
            raise
        manifest = {
            "format": FORMAT,
            "asset_key": key,
            "partition": partition,
            "memo_key": memo,
            **facts,
            "recipe": recipe,
            "recipe_hash": digest(recipe),
            "seed": seed,
            "inputs": {
                name: {
                    "asset_key": artifact.key,
                    "partition": artifact.partition,
                    "data_version": artifact.data_version,
                    "memo_key": artifact.memo_key,
                }
                for name, artifact in inputs.items()
            },
            "libraries": libraries(),
            "execution": jsonable(execution),
            "checks": [],
            **manifest,
        }
        results = self._check(self.artifact(manifest), checks)
        manifest["checks"] = [jsonable(dataclasses.asdict(result)) for result in results]
        manifest["observations"] = {
            **jsonable(output.observations),
            "materialized_at": _now(),
            "seconds": time.monotonic() - began,
            "run_id": run_id,
        }
        path = f"manifests/{memo}.json"
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
                f"{artifact.key} is not published, a check failed: {reasons}", results
            )
        return results


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
