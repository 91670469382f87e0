"""The family as Dagster runs it: its assets, one job a stage, and the job that makes everything.

Knows which assets a job selects; when a job runs is up to a person, the driver or a sensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.assets.job.asset_job import build_asset_job, get_asset_graph_for_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from resources.execution import Execution, Progress, silent
from resources.recipe.reference import Reference
from resources.recipe.schema import Recipe
from resources.store import last_run
from resources.store.building import codes_of
from resources.store.dagster import Builder, asset_definition
from resources.store.home import Home
from resources.store.spec import Spec

FAMILY = "family"


def family_assets(specs: Sequence[Spec]) -> list[dg.AssetsDefinition]:
    """One Dagster asset a spec, with the code version that stands on disk now."""
    codes = codes_of(specs)
    return [asset_definition(spec, codes[spec.key]) for spec in specs]


class AssetJob(UnresolvedAssetJobDefinition):
    """An asset job whose assets may be partitioned differently, as the models' libraries are.

    `define_asset_job` refuses that, though Dagster's own job of all assets allows it and the run is
    the same: without a partition every asset builds all of its own.
    """

    def resolve(
        self,
        asset_graph: AssetGraph,
        default_executor_def: dg.ExecutorDefinition | None = None,
        resource_defs: Mapping[str, dg.ResourceDefinition] | None = None,
    ) -> dg.JobDefinition:
        """The job on a graph of assets."""
        return build_asset_job(
            self.name,
            get_asset_graph_for_job(asset_graph, self.selection, True),
            allow_different_partitions_defs=True,
            resource_defs=resource_defs,
            description=self.description,
            executor_def=default_executor_def,
        )


def family_jobs(specs: Sequence[Spec]) -> list[AssetJob]:
    """`family` (parents to report) and one job a stage, in pipeline order."""
    stages = dict.fromkeys(spec.stage for spec in specs)
    return [
        AssetJob(FAMILY, dg.AssetSelection.all(), description="Everything, parents to report."),
        *(AssetJob(stage, dg.AssetSelection.groups(stage)) for stage in stages),
    ]


def builder(
    home: Home,
    recipe: Recipe,
    progress: Progress = silent,
    reference: Reference | None = None,
) -> Builder:
    """What asset bodies build with: the home and the recipe's execution settings.

    With `reference`, runs that Dagster's UI or a sensor starts are the home's last run.
    """

    def started() -> None:
        if reference is not None:
            last_run.remember(home, reference, recipe.models)

    place = str(home.path)
    execution = Execution.of(
        recipe.execution,
        home=place,
        requests=home.requests,
        roles=dict(recipe.family.roles),
        progress=progress,
    )
    return Builder(place, execution, started=started)
