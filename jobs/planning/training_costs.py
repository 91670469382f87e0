"""What the training stages of a recipe take: the plan as a table, and a refusal of what cannot fit.

Part of `heirloom run --dry-run`. What is known of a model's sizes is its `training_plan` in the
home, else what the recipe states of its parent. Knows recipes and artifacts; the arithmetic is in
`resources/costs/planning.py`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.board import clock
from jobs.console import open_console, plain_table
from resources.costs.placement import DoesNotFitError
from resources.costs.planning import Sizes, Stage, narrowed, plan
from resources.costs.workload import alone, settings, works
from resources.models import accounting
from resources.models.accounting import Shape
from resources.recipe.schema import Recipe

if TYPE_CHECKING:
    from jobs.planning.plan import Asset, Plan
    from warehouse.store import Artifact


@dataclass(frozen=True)
class Known:
    """What a model's `training_plan` in the home tells: real sizes, and the pace it measured.

    `rates` are operations a second by stage (empty: not measured, `why_not` says why), on
    `machine`, with `ranks` devices of that kind. `stale`: the plan was made for another recipe or
    architecture.
    """

    sizes: Sizes
    rates: Mapping[str, float]
    machine: str
    ranks: int
    stale: bool
    why_not: str = ""

    def seconds(self, stage: Stage) -> float | None:
        """Seconds of the stage's arithmetic here; a stage that is new counts at the mean rate."""
        if not self.rates:
            return None
        mean = sum(self.rates.values()) / len(self.rates)
        rate = self.rates.get(stage.key.partition("/")[2], mean)
        return stage.flops / rate / self.ranks


def known_of(planned: Plan) -> dict[str, Known]:
    """By model, what the current training plans in the home tell, fresh or not."""
    found = {}
    for name in planned.recipe.models:
        asset = planned.by_key.get(f"{name}/training_plan")
        if asset is not None and None in asset.shown:
            found[name] = _known(asset, asset.shown[None])
    return found


def _known(asset: Asset, artifact: Artifact) -> Known:
    sizes = json.loads((artifact.path() / "sizes.json").read_text())
    observed = artifact.observations
    return Known(
        Sizes(Shape(**sizes["shape"]), sizes["blocks"], sizes["parent"]),
        observed.get("flops_per_second", {}),
        str(observed.get("measured_on", "")),
        int(observed.get("ranks_here", 1)),
        asset.state != "fresh",
        str(observed.get("not_measured", "")),
    )


def training_costs(
    recipe: Recipe,
    keys: Collection[str] | None = None,
    known: Mapping[str, Known] | None = None,
) -> list[Stage]:
    """The training stages of the models whose sizes are `known` or stated in the recipe, in order.

    Stated sizes count only where `hardware` is named. Stages not among `keys` are left out (None:
    none are).
    """
    known, found = known or {}, []
    for name in recipe.models:
        sizes = known[name].sizes if name in known else _stated(recipe, name)
        if sizes is not None:
            found += plan(name, works(recipe, name), sizes, settings(recipe, name))
    return [stage for stage in found if keys is None or stage.key in keys]


def _stated(recipe: Recipe, name: str) -> Sizes | None:
    stated = recipe.execution.parents.get(name)
    if stated is None or recipe.execution.hardware is None:
        return None
    shape = Shape.of(stated.model_dump(exclude={"parameters", "num_hidden_layers"}))
    parent = accounting.blocks_of(shape, [("full", "full")] * stated.num_hidden_layers)
    return Sizes(shape, narrowed(shape, parent, stated.parameters), parent)


def refused(
    recipe: Recipe, keys: Collection[str], known: Mapping[str, Known] | None = None
) -> list[str]:
    """Why training stages cannot run as placed, in order.

    Sizes of a stale plan refuse nothing: the run may be what replaces them.
    """
    fresh = {name: each for name, each in (known or {}).items() if not each.stale}
    whys = [s.refusal for s in training_costs(recipe, keys, fresh) if s.refusal]
    apart = one_process(recipe)
    return whys + [apart[key] for key in keys if key in apart]


def one_process(recipe: Recipe) -> dict[str, str]:
    """Why assets cannot be trained on the ranks that are asked for, by key."""
    processes = recipe.execution.processes
    return {
        key: f"{key} trains in one process, and execution asks for {processes}; make it with "
        f"`heirloom run --select {key} --set execution.ranks=1 --set execution.hosts=[]`"
        for key in (alone(recipe) if processes > 1 else ())
    }


def refuse_what_does_not_fit(
    recipe: Recipe, keys: Collection[str], known: Mapping[str, Known] | None = None
) -> None:
    """Raises DoesNotFitError for the first training stage that cannot run as placed."""
    for why in refused(recipe, keys, known):
        raise DoesNotFitError(why)


def show_training_costs(
    recipe: Recipe, keys: Collection[str], known: Mapping[str, Known] | None = None
) -> int:
    """Print a line a training stage, which rates and sizes were used, and why stages do not fit;
    1 where one does not."""
    known = known or {}
    stages = training_costs(recipe, keys, known)
    if not stages:
        return 0
    hardware = recipe.execution.hardware
    models = list(dict.fromkeys(stage.key.partition("/")[0] for stage in stages))
    measured = any(known[name].rates for name in models if name in known)
    flops, flop_unit = (1e15, "PFLOP") if max(s.flops for s in stages) >= 1e15 else (1e9, "GFLOP")
    size, unit = (1e9, "GB") if max(s.memory.total for s in stages) >= 1e9 else (1e6, "MB")
    table = plain_table("training stage")
    columns = ["tokens", flop_unit]
    columns += [f"{hardware.name} hours", "published", "days"] if hardware else []
    columns += ["here"] if measured else []
    for name in (*columns, f"{unit} a rank"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in stages:
        cells = [f"{stage.tokens:,.0f}", f"{stage.flops / flops:,.0f}"]
        if hardware and stage.hours is not None:
            cells += [
                f"{stage.hours:,.0f}",
                f"{stage.published:,.0f}" if stage.published else "",
                f"{stage.hours / hardware.devices / 24:,.1f}",
            ]
        if measured:
            model = known.get(stage.key.partition("/")[0])
            seconds = model.seconds(stage) if model else None
            cells.append("" if seconds is None else clock(seconds))
        memory = f"{stage.memory.total / size:,.1f}" + (" too many" if stage.refusal else "")
        table.add_row(stage.key, *cells, memory)
    open_console().print(table)
    if hardware:
        print(
            f"On {hardware.devices} x {hardware.name} ({hardware.memory_bytes / 1e9:,.0f} GB), "
            f"arithmetic alone at an assumed {hardware.mfu:.0%} of {hardware.flops / 1e12:,.0f} "
            "TFLOP/s; sampling is slower than that by as much as it waits for memory."
        )
    for line in _told(models, known):
        print(line)
    refusals = [stage.refusal for stage in stages if stage.refusal]
    for refusal in refusals:
        print(f"does not fit: {refusal}")
    return 1 if refusals else 0


def _told(models: Collection[str], known: Mapping[str, Known]) -> list[str]:
    """Lines that say which rates and sizes the table used."""
    there = {name: known[name] for name in models if name in known}
    rates = [
        f"{name} {sum(each.rates.values()) / len(each.rates) / 1e9:,.3g} GFLOP/s on {each.machine}"
        for name, each in there.items()
        if each.rates
    ]
    lines = [f"Here: arithmetic alone at the rate measured here: {'; '.join(rates)}."] * bool(rates)
    lines += [
        f"{name}: not measured here: {each.why_not}."
        for name, each in there.items()
        if each.why_not
    ]
    if old := [name for name, each in there.items() if each.stale]:
        lines.append(f"Sizes and rate of {', '.join(old)} are of an older training_plan.")
    return lines
