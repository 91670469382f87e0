"""The one door: building, restoring, checking and publishing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from warehouse.artifact import Artifact
from warehouse.files.filesystem import Files
from warehouse.store import CheckFailed, CheckResult, Output, Request, Store, WarehouseError

Make = Callable[..., Artifact]


@dataclass(frozen=True)
class On:
    """Execution settings, as far as the store knows them."""

    device: str

    def recorded(self) -> dict[str, Any]:
        return {"device": self.device, "progress": print}


def test_a_known_memo_key_is_restored_after_going_back_and_forth(
    any_store: Store, build: Make
) -> None:
    calls: list[str] = []
    first = build(any_store, recipe={"questions": ["a"]}, calls=calls)
    second = build(any_store, recipe={"questions": ["b"]}, calls=calls)
    assert any_store.current("problems/math").data_version == second.data_version  # type: ignore[union-attr]
    again = build(any_store, recipe={"questions": ["a"]}, calls=calls)
    assert len(calls) == 2
    assert again.data_version == first.data_version != second.data_version
    assert any_store.current("problems/math").memo_key == first.memo_key  # type: ignore[union-attr]
    assert any_store.at("problems/math", second.data_version[:8]).memo_key == second.memo_key
    any_store.set_current(second, reason="rollback")
    assert any_store.currents()[("problems/math", None)]["memo_key"] == second.memo_key


def test_content_and_only_content_makes_the_data_version(store: Store, build: Make) -> None:
    def fn(marker: int) -> Any:
        return lambda *_: Output(
            {"claims_table": pa.table({"a": [1]})},
            metrics={"m": marker},
            observations={"seconds_spent": marker},
            images={"p": str(marker).encode()},
        )

    one = store.build(Request("x/a", None, fn(1), {}, {}, 0, code_version="1"))
    two = store.build(Request("x/a", None, fn(2), {}, {}, 0, code_version="2"), execution=On("gpu"))
    assert one.data_version == two.data_version and one.memo_key != two.memo_key
    assert two.metrics == {"m": 2.0} and two.image("p") == b"2"
    assert two.observations["seconds_spent"] == 2 and two.observations["seconds"] >= 0


def test_execution_is_recorded_but_never_keyed(store: Store, build: Make) -> None:
    calls: list[str] = []
    first = build(store, calls=calls, execution=On("cpu"))
    build(store, calls=calls, execution=On("cuda"))
    assert len(calls) == 1
    assert first.manifest["execution"] == {"device": "cpu"}


def test_the_manifest_tells_the_lineage_alone(store: Store, build: Make) -> None:
    parent = build(store)
    child = build(
        store,
        "super/blend",
        {"lr": 1e-4},
        inputs={"p": parent},
        checks=[lambda a: CheckResult("rows", a.rows == 2, "two rows", {"rows": a.rows})],
        stage="sft_data",
        model="super",
        run_id="r1",
        observed={None: {"incoming": "abc"}},
    )
    text = Path(store.home, "manifests", f"{child.memo_key}.json").read_text()
    manifest = json.loads(text)
    assert manifest["inputs"]["p"]["data_version"] == parent.data_version
    assert manifest["recipe"] == {"lr": 1e-4} and manifest["seed"] == 0
    assert manifest["checks"][0]["metadata"] == {"rows": 2}
    assert {"python", "pyarrow"} <= set(manifest["libraries"])
    assert manifest["tables"]["blends"]["rows"] == manifest["rows"] == 2
    assert child.checks[0].passed and child.partition is None
    assert manifest["observed"] == {"incoming": "abc"}


def test_the_build_function_gets_a_derived_seed(store: Store) -> None:
    seen = []

    def fn(workdir: Path, inputs: Any, recipe: dict[str, Any], execution: Any) -> Output:
        seen.append((recipe["seed"], recipe["asset_key"]))
        return Output()

    for key in ("x/a", "x/b"):
        store.build(Request(key, None, fn, {}, {}, 7, code_version="1"))
    store.build(Request("x/a", "math", fn, {}, {}, 7, code_version="1", layout={"math": {}}))
    assert [key for _, key in seen] == ["x/a", "x/b", "x/a"]
    assert len({seed for seed, _ in seen}) == 3
    assert all(0 <= seed < 2**31 for seed, _ in seen)
    assert store.current("x/a", "math").partition == "math"  # type: ignore[union-attr]


def test_a_failed_blocking_check_publishes_nothing(store: Store, build: Make) -> None:
    def check(artifact: Artifact) -> CheckResult:
        return CheckResult("no_overlap", artifact.table("problems").num_rows == 0, "3 rows overlap")

    with pytest.raises(
        CheckFailed, match=r"problems/math is not published.*no_overlap: 3 rows"
    ) as e:
        build(store, checks=[check])
    assert [result.passed for result in e.value.results] == [False]
    assert store.current("problems/math") is None and not list(store.manifests())
    advisory = build(store, checks=[lambda a: CheckResult("style", False, blocking=False)])
    assert not advisory.checks[0].passed


def test_files_are_stored_once_and_come_back_as_a_folder(any_store: Store, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "tokenizer").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "tokenizer" / "vocab.txt").write_text("a b c")

    def fn(*_: Any) -> Output:
        return Output(files={"": model, "copy/config.json": model / "config.json"})

    artifact = any_store.build(Request("super/parent", None, fn, {}, {}, 0, code_version="1"))
    root = artifact.path()
    assert (root / "tokenizer" / "vocab.txt").read_text() == "a b c"
    assert artifact.path("copy/config.json").read_text() == "{}"
    assert artifact.path("tokenizer").is_dir()
    with pytest.raises(WarehouseError, match="holds no file 'weights'"):
        artifact.path("weights")
    with pytest.raises(WarehouseError, match="leads out of the artifact"):
        any_store.checkpoints.add({"../x": model}, "super/parent")
    shutil.rmtree(root)
    assert (artifact.path() / "config.json").read_text() == "{}"


def test_corrupted_content_is_named_and_rebuilt_once_deleted(
    store: Store, build: Make, tmp_path: Path
) -> None:
    calls: list[str] = []
    artifact = build(store, calls=calls)
    part = store.lake.address(artifact.manifest["tables"]["problems"]["parts"][0]["sha256"])
    path = Path(store.home, part)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(
        WarehouseError, match=r"table 'problems' of problems/math is corrupted.*run"
    ):
        artifact.table("problems")
    path.unlink()
    assert store.damage(artifact.manifest) == f"{path} is gone"
    healed = build(store, calls=calls)
    assert len(calls) == 2 and healed.data_version == artifact.data_version
    assert healed.table("problems").num_rows == 2


def test_corrupted_weights_are_named(store: Store, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"0" * 100)
    artifact = store.build(
        Request("x/m", None, lambda *_: Output(files={"": weights}), {}, {}, 0, code_version="1")
    )
    blob = artifact.path("model.safetensors")
    blob.chmod(0o644)
    blob.write_bytes(b"1" * 100)
    with pytest.raises(WarehouseError, match=r"file model.safetensors of x/m is corrupted"):
        artifact.path()


class Killed(BaseException):
    """Stands for the death of the process at one place."""


@pytest.mark.parametrize("operation", ["write", "create", "add"])
def test_death_at_any_write_leaves_nothing_half_visible(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * 1000)

    def fn(*_: Any) -> Output:
        return Output(
            {"numbers": pa.table({"a": [1, 2]}), "more": pa.table({"b": [1]})},
            {"weights": weights},
            images={"plot": b"png"},
        )

    original = getattr(Files, operation)
    versions, deaths = set(), 0
    for fatal in range(8):
        store = Store(tmp_path / f"home-{operation}-{fatal}")
        count = 0

        def dying(self: Files, *args: Any, fatal: int = fatal, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count - 1 == fatal:
                raise Killed
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Files, operation, dying)
            try:
                store.build(Request("x/a", None, fn, {}, {}, 0, code_version="1"))
            except Killed:
                deaths += 1
        fresh = Store(store.home)
        for manifest in fresh.manifests():
            assert fresh.damage(manifest) is None
            assert fresh.artifact(manifest).table("numbers").num_rows == 2
        after = fresh.build(Request("x/a", None, fn, {}, {}, 0, code_version="1"))
        assert fresh.current("x/a") is not None
        versions.add(after.data_version)
    assert deaths >= 1 and len(versions) == 1


def test_unwritable_home_and_full_disk_are_explained(tmp_path: Path, build: Make) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WarehouseError, match=r"cannot .* set HEIRLOOM_HOME to a folder"):
        build(Store(tmp_path / "file" / "home"))

    def full(*_: Any) -> Output:
        import errno

        raise OSError(errno.ENOSPC, "No space left on device")

    def hidden(*_: Any) -> Output:  # as safetensors words it
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    for builds in (full, hidden):
        with pytest.raises(WarehouseError, match=r"cannot build x/a: the disk is full.*gc"):
            Store(tmp_path / "home").build(Request("x/a", None, builds, {}, {}, 0, "1"))


def test_wrong_use_is_refused(store: Store, build: Make) -> None:
    with pytest.raises(WarehouseError, match="asset key"):
        build(store, "../escape")
    with pytest.raises(WarehouseError, match="not plain finite JSON"):
        build(store, recipe={"lr": float("nan")})
    with pytest.raises(WarehouseError, match="returned NoneType, should be Output"):
        store.build(Request("x/a", None, lambda *_: None, {}, {}, 0, code_version="1"))  # type: ignore
    with pytest.raises(WarehouseError, match="x/a@12 cannot be found: x/a was never built"):
        store.at("x/a", "12")
    for partition in ("b", None):
        with pytest.raises(WarehouseError, match="say with `layout` which partitions"):
            store.build(
                Request(
                    "x/a",
                    partition,
                    lambda *_: Output(),
                    {},
                    {},
                    0,
                    code_version="1",
                    layout={"a": {}},
                )
            )
    with pytest.raises(WarehouseError, match=r"partition 'a\.\.\.b': use letters"):
        layout: dict[str | None, dict[str, Any]] = {"a...b": {}}
        store.build(
            Request("x/a", "a...b", lambda *_: Output(), {}, {}, 0, code_version="1", layout=layout)
        )
    with pytest.raises(WarehouseError, match="has no table 'rows'; its tables: problems"):
        build(store).table("rows")
    with pytest.raises(WarehouseError, match="has no column 'nope'"):
        build(store).table("problems", ["nope"])


def test_importing_the_store_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'dagster', 'pyarrow', 'duckdb', 'transformers', 'numpy'}"
    code = f"import sys, warehouse.store; print(sorted({heavy} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
