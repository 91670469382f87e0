"""Partitioned assets in a real Dagster: one partition, a range, all, and jobs that mix them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from definitions import build_defs
from resources.store.home import Home
from resources.store.spec import Spec
from tests.jobs import toy_groups as toy
from warehouse.store import Store

LIBRARY = dg.AssetKey(["toy", "library"])


def family(folder: Path) -> list[Spec]:
    """Two libraries with different partitions."""
    specs = toy.specs(folder, 2)
    return [*specs, replace(specs[1], key="other/library", partitions=toy.groups(3))]


class Dagster:
    """The definitions of the family on an ephemeral instance."""

    def __init__(self, folder: Path) -> None:
        self.defs = build_defs(recipe=toy.recipe(), specs=family(folder))
        self.instance = dg.DagsterInstance.ephemeral()

    def run(self, *keys: str, job: str = "family", **options: Any) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in keys] or None,
            raise_on_error=False,
            **options,
        )

    def told(self, partition: str) -> tuple[str, str]:
        """Data version and row count of a partition's last event."""
        record = self.instance.get_latest_data_version_record(LIBRARY, partition_key=partition)
        assert record is not None and record.asset_materialization is not None
        event = record.asset_materialization
        assert event.partition == partition and event.metadata["partition"].value == partition
        return (event.tags or {})["dagster/data_version"], str(event.metadata["sum"].value)


def versions(home: Home) -> dict[str | None, str]:
    return {
        name: artifact.data_version
        for name, artifact in Store(home.path).parts("toy/library").items()
    }


def test_jobs_over_differently_partitioned_assets_load_and_make_everything(
    home: Home, folder: Path
) -> None:
    dagster = Dagster(folder)
    dg.Definitions.validate_loadable(dagster.defs)
    names = {job.name for job in dagster.defs.resolve_all_job_defs()}
    assert {"family", "sft_data", "rl"} <= names
    assert dagster.defs.resolve_job_def("family").partitions_def is None
    assert dagster.run().success
    store = Store(home.path)
    assert list(store.parts("toy/library")) == ["group_1", "group_2"]
    assert list(store.parts("other/library")) == ["group_1", "group_2", "group_3"]
    joined = store.current("toy/joined")
    assert joined is not None
    assert list(joined.manifest["inputs"]) == ["library@group_1", "library@group_2"]
    found = dagster.instance.get_materialized_partitions(dg.AssetKey(["other", "library"]))
    assert found == {"group_1", "group_2", "group_3"}
    assert {name: dagster.told(str(name))[0] for name in versions(home)} == versions(home)


def test_one_partition_then_a_range_then_what_depends_on_all(home: Home, folder: Path) -> None:
    dagster = Dagster(folder)
    assert dagster.run("toy/numbers").success
    assert dagster.run("toy/library", partition_key="group_2").success
    assert dagster.instance.get_materialized_partitions(LIBRARY) == {"group_2"}
    assert versions(home) == {}, "readers wait for the other"
    refused = dagster.run("toy/joined")
    assert not refused.success and "partitions are not all built" in str(refused.all_events)
    tags = {
        "dagster/asset_partition_range_start": "group_1",
        "dagster/asset_partition_range_end": "group_2",
    }
    assert dagster.run("toy/library", tags=tags).success
    assert dagster.instance.get_materialized_partitions(LIBRARY) == {"group_1", "group_2"}
    assert {str(name): dagster.told(str(name))[0] for name in versions(home)} == versions(home)
    assert [dagster.told(name)[1] for name in ("group_1", "group_2")] == ["3.0", "7.0"]
    assert dagster.run("toy/joined").success
    graph = dagster.defs.resolve_asset_graph()
    assert graph.get(LIBRARY).partitions_def == dg.StaticPartitionsDefinition(
        ["group_1", "group_2"]
    )


def test_checks_and_failures_of_partitions(home: Home, folder: Path) -> None:
    dagster = Dagster(folder)
    assert dagster.run("toy/numbers").success
    toy.order(folder, 1, "fail")
    failed = dagster.run("toy/library")
    assert not failed.success and "group 1 is told to fail" in str(failed.all_events)
    assert dagster.instance.get_materialized_partitions(LIBRARY) == {"group_2"}
    toy.order(folder, 1, "obey")
    result = dagster.run("toy/library")
    [check] = result.get_asset_check_evaluations()
    assert check.passed and check.description == "group_1: least 1; group_2: least 3"
    assert check.metadata["group_2"].value == {"least": 3}
    [check] = dagster.run("toy/library", partition_key="group_2").get_asset_check_evaluations()
    assert check.description == "least 3" and check.metadata["partition"].value == "group_2"


def test_a_partitioned_asset_that_reads_another_one(home: Home, folder: Path) -> None:
    specs = family(folder)
    reads = {"numbers": "toy/numbers", "first": "toy/library"}
    specs[-1] = replace(specs[-1], inputs=reads)
    dagster = Dagster(folder)
    dagster.defs = build_defs(recipe=toy.recipe(), specs=specs)
    assert dagster.run("toy/numbers", "toy/library").success
    for partition in toy.groups(3):
        assert dagster.run("other/library", partition_key=partition).success
    made = Store(home.path).current("other/library", "group_3")
    assert made is not None
    assert list(made.manifest["inputs"]) == ["numbers", "first@group_1", "first@group_2"]
