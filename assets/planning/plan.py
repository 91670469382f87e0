"""The training plan of one model: what each of its stages takes, from its real sizes.

Closed forms decide the content (`resources/costs/planning.py`); what this machine reaches is
measured beside them and only observed. Knows artifacts; knows nothing of how the model was found.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from resources.costs import planning
from resources.costs.planning import Settings, Sizes, Stage
from resources.recipe.sections.effort import Work
from warehouse.rows import with_ids
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution
    from resources.models.config import HeterogeneousDecoderConfig

HELD = {  # column: the part of a rank's memory
    "weights_bytes": "weights",
    "gradients_bytes": "gradients",
    "optimizer_bytes": "optimizer",
    "activation_bytes": "activations",
    "logits_bytes": "logits",
    "teacher_bytes": "teacher",
}


def plan_training(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Table `training_plans` (a row a stage) and the file `sizes.json` (shape, blocks, parent).

    Inputs: parent (its configuration; the teacher of a distillation), and architecture where the
    model is searched. Recipe: works and settings, as `resources/costs/workload.py` makes them.
    Layers that are fused after the search count apart: fusing saves their norms alone.

    Observations: `flops_per_second` that a layer's step reached here and the `seconds_here` that
    follow for each stage, or `not_measured` with the reason.
    """
    from resources.models.accounting import Shape
    from resources.models.loading import read_config

    config = read_config(inputs["parent"].path())
    shape, parent = Shape.of(config.to_dict()), config.block_configs or []
    blocks: Sequence[Mapping[str, Any]] = parent
    if "architecture" in inputs:
        layers = inputs["architecture"].table("architectures").sort_by("layer").to_pylist()
        blocks = planning.searched(shape, layers)
    sizes = Sizes(shape, blocks, parent)
    works = [Work(**work) for work in recipe["works"]]
    settings = Settings.of(recipe["settings"])
    model = recipe["model"]
    stages = planning.plan(model, works, sizes, settings)
    (workdir / "sizes.json").write_text(json.dumps(sizes.record(), sort_keys=True))
    return Output(
        tables={"training_plans": table(stages, settings, recipe["asset_key"])},
        files={"sizes.json": workdir / "sizes.json"},
        metrics={
            "tokens": float(sum(stage.tokens for stage in stages)),
            "flops": sum(stage.flops for stage in stages),
            "most_bytes": max(stage.memory.total for stage in stages),
        },
        observations=_observed(config, sizes, works, stages, settings, execution),
    )


def table(stages: Sequence[Stage], settings: Settings, asset_key: str) -> pa.Table:
    """The rows of `training_plans`; bytes are those of one rank, rounded up."""
    rows = []
    for position, stage in enumerate(stages):
        model, _, stage_name = stage.key.partition("/")
        held = {name: math.ceil(getattr(stage.memory, part)) for name, part in HELD.items()}
        rows.append(
            {
                "model": model,
                "stage": stage_name,
                "position": position,
                "tokens": stage.tokens,
                "flops": stage.flops,
                **held,
                "total_bytes": sum(held.values()),
                "zero_stage": stage.placement.zero_stage,
                "ranks": stage.placement.ranks,
                "hardware": settings.machine.name if settings.machine else None,
                "hours": stage.hours,
                "published_hours": stage.published,
                "refusal": stage.refusal,
            }
        )
    return with_ids(pa.Table.from_pylist(rows, schema=SCHEMA), asset_key, ["model", "stage"])


SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("stage", pa.string()),
        ("position", pa.int64()),
        ("tokens", pa.int64()),
        ("flops", pa.float64()),
        *((name, pa.int64()) for name in HELD),
        ("total_bytes", pa.int64()),
        ("zero_stage", pa.int64()),
        ("ranks", pa.int64()),
        ("hardware", pa.string()),
        ("hours", pa.float64()),
        ("published_hours", pa.float64()),
        ("refusal", pa.string()),
    ]
)


def _observed(
    config: HeterogeneousDecoderConfig,
    sizes: Sizes,
    works: Sequence[Work],
    stages: Sequence[Stage],
    settings: Settings,
    execution: Execution,
) -> dict[str, Any]:
    """What this machine reaches at each stage's lengths, and the seconds that follow.

    Each of the ranks that are launched here counts as one device like the one measured.
    """
    import torch

    from assets.planning import pace
    from resources.machine import hardware

    before = torch.get_num_threads()
    torch.set_num_threads(execution.threads)
    block = planning.widest(sizes.shape, sizes.blocks)
    paces: dict[str, pace.Pace] = {}
    known: dict[tuple[int, int], pace.Pace] = {}
    try:
        for work in works:
            at = planning.micro_tokens(work, settings), work.length
            if at not in known:
                known[at] = pace.measure(config, block, *at, settings.device)
            paces[work.stage] = known[at]
        named = hardware(settings.device)
    except (pace.PaceError, torch.OutOfMemoryError) as error:
        return {"not_measured": str(error)}
    finally:
        torch.set_num_threads(before)
    ranks = execution.processes
    return {
        "measured_on": named,
        "dtype": "bfloat16" if settings.device == "cuda" else "float32",
        "timed_tokens": {stage: found.tokens for stage, found in paces.items()},
        "flops_per_second": {stage: found.flops_per_second for stage, found in paces.items()},
        "ranks_here": ranks,
        "seconds_here": {
            work.stage: stage.flops / paces[work.stage].flops_per_second / ranks
            for work, stage in zip(works, stages, strict=True)
        },
    }
