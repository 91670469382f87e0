"""One supervised run from start to finish: train a model on examples, measure it as it goes.

Shared by distillation, continued pretraining and SFT, which differ in their objective and examples
alone. It knows nothing of assets and where examples come from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from resources.training import launch, trackers
from resources.training.bins import pack
from resources.training.data import Batches, Examples, plan_steps, singles
from resources.training.guard import GuardConfig
from resources.training.loop import train
from resources.training.measuring import (
    Batch,
    Objective,
    events_table,
    measured_steps,
    metrics_table,
)
from resources.training.objectives import Loss, cross_entropy
from resources.training.optimizer import OptimizerConfig
from resources.training.plots import curve
from resources.training.telemetry import Telemetry, operations_of
from resources.training.trainer import Trainer

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution

HELD_OUT_SHARE = 0.05  # of the examples measure the model and are not trained on,
HELD_OUT_MOST = 64  # but no more than this many
ENDS = 0.1  # share of the steps that `loss_first` and `loss_last` average over
# How much a packed document's logits may differ from those it has alone, of the largest one.
SEPARATE = {"float32": 1e-4, "bfloat16": 5e-2}

# What held-out examples are measured with, made anew each time, and the models it runs.
Measuring = Callable[[], tuple[Objective, Sequence[nn.Module]]]
# The examples of a step in order and its micro-batches -> the same with more in them.
Attach = Callable[[Sequence[int], list[Batch]], list[Batch]]


@dataclass(frozen=True)
class Fitted:
    """What a run leaves beside the trained model: the parts of an artifact."""

    table: pa.Table
    events: pa.Table
    metrics: dict[str, float]
    observations: dict[str, float]
    images: dict[str, bytes]


def held_out_count(examples: int) -> int:
    """How many of so many examples are held out: 5 %, at least 1 and at most 64."""
    return min(HELD_OUT_MOST, max(1, round(examples * HELD_OUT_SHARE)))


def language_model_loss(model: nn.Module, batch: Batch) -> Loss:
    """Cross-entropy of a causal language model on a packed micro-batch."""
    return cross_entropy(
        forward(model, batch).logits, batch["labels"], batch["weights"], batch["total"]
    )


def forward(model: nn.Module, batch: Batch, **arguments: Any) -> Any:
    """The model's output on a packed micro-batch, every document computed as if alone."""
    return model(
        batch["input_ids"],
        position_ids=batch["position_ids"],
        document_ids=batch["document_ids"],
        **arguments,
    )


def head_of(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The output head of a model, or of the one in a DeepSpeed engine, in the engine's precision.

    For losses that apply it to the states of a forward pass with `output_logits=False`.
    """
    module: Any = getattr(model, "module", model)
    plain: Callable[[Tensor], Tensor] = module.head
    if module is model:
        return plain
    from deepspeed.runtime.torch_autocast import autocast_if_enabled

    def head(states: Tensor) -> Tensor:
        with autocast_if_enabled(model):
            return plain(states)

    return head


def fit(
    model: nn.Module,
    training: Examples,
    held_out: Examples,
    objective: Objective,
    recipe: Mapping[str, Any],
    workdir: Path,
    execution: Execution,
    *,
    stage: str,
    measure: str,
    packed: bool = False,
    measuring: Measuring | None = None,
    further: Mapping[str, Examples] | None = None,
    attach: tuple[Attach, Attach] | None = None,
    teachers: Sequence[nn.Module] = (),
) -> Fitted:
    """Train `model` in place on `training`, resuming from `workdir`.

    `recipe` is a training section (optimizer, `tokens` or `epochs`, `batch_tokens`,
    `sequence_length`) with `seed`. `packed` keeps full packs of `sequence_length` together,
    otherwise examples are drawn one by one; either way a step is about `batch_tokens` tokens and no
    padding is computed.

    Held-out examples are measured before, after, and once the shares of the steps in an optional
    `measure_at` are done, with what `measuring` makes (default: `objective`); `measure` is the
    metric that leads. The examples of `further` are measured by `objective` beside them, each set
    under its name. `attach` adds to micro-batches what an objective needs of each example, for
    training and held-out ones. `teachers` run forward in each step. Of several ranks all but the
    first end with the training.

    Raises PackingError when the model lets packed documents see each other.
    """
    seed = int(recipe["seed"])
    lengths = training.lengths
    units = pack(lengths.tolist(), recipe["sequence_length"]) if packed else singles(training)
    plan = plan_steps(
        [int(lengths[unit].sum()) for unit in units],
        recipe["batch_tokens"],
        seed,
        tokens=recipe.get("tokens"),
        epochs=recipe.get("epochs"),
    )
    micro_tokens = execution.micro_batch * int(recipe["sequence_length"])
    batches = Batches(training, units, plan, micro_tokens)
    unseen = _collated(held_out, micro_tokens)
    others = {name: _collated(each, micro_tokens) for name, each in (further or {}).items()}
    if attach is not None:
        unseen = attach[1](range(len(held_out)), unseen)
    trackers.check(execution.trackers)
    config = OptimizerConfig.from_recipe(recipe)
    trainer = Trainer(model, config, len(plan), workdir, seed, execution)
    prove_separate(trainer)
    _enlist(trainer, teachers)

    def measured() -> dict[str, float]:
        asked, models = measuring() if measuring else (objective, ())
        _enlist(trainer, models)
        found = trainer.evaluate(unseen, asked)
        for name, batches in others.items():
            part = trainer.evaluate(batches, objective)
            found |= {f"{name}_{metric}": part[metric] for metric in part if metric != "loss"}
        return found

    if trainer.step == 0:
        trainer.state.setdefault("before", measured())
    before = trainer.state["before"]
    telemetry = Telemetry.of(trainer.state, len(plan), execution, trainer.dtype, trainer.world_size)
    telemetry.operations = operations_of(model, batches, teachers)
    if trainer.rank == 0:
        telemetry.trackers = trackers.open_all(
            execution.trackers,
            Path(execution.home or workdir),
            str(recipe.get("asset_key") or stage),
            workdir.name[:12],
            trainer.step,
        )
    due = measured_steps(recipe.get("measure_at") or (), len(plan))

    def batch_of(step: int) -> list[Batch]:
        made = batches(step)
        if attach is None:
            return made
        return attach[0]([i for unit in plan[step] for i in units[int(unit)]], made)

    def report(step: int, metrics: dict[str, float]) -> None:
        state = trainer.state
        line = telemetry.step(step, metrics, state["seconds"], int(state["history"][-1]["tokens"]))
        state["clock"], state["tokens"] = telemetry.clock, telemetry.tokens
        if step in due:
            # Kept in the run's state: a resumed run has what it measured before.
            found = _held_out(measured())
            state.setdefault("measured", []).append({"step": step, **found})
            telemetry.measured(step, found)
        execution.progress(line, step / len(plan))

    try:
        table = train(
            trainer,
            batch_of,
            objective,
            stage=stage,
            key=str(recipe.get("asset_key") or stage),
            save_every_seconds=execution.save_every_seconds,
            guard=GuardConfig.from_recipe(recipe.get("divergence")),
            on_step=report,
        )
    finally:
        telemetry.close()
    after = measured()
    trainer.close()
    for parameter in model.parameters():
        # ZeRO 1 and 2 leave parameters as views of one buffer, which checkpoint files refuse.
        if parameter.untyped_storage().nbytes() > parameter.nbytes:
            parameter.data = parameter.data.clone()
    launch.first_goes_on()
    losses = series(table, "loss")
    share = max(1, round(ENDS * len(losses)))
    tokens = table.column("tokens")[-1].as_py()
    metrics = {
        f"held_out_{measure}": after[measure],
        f"held_out_{measure}_before": before[measure],
        **{k: v for k, v in _held_out(after).items() if k != f"held_out_{measure}"},
        "loss_first": sum(losses[:share]) / share,
        "loss_last": sum(losses[-share:]) / share,
        "steps": float(len(losses)),
        "tokens": float(tokens),
    }
    if packed:
        metrics["pack_fill"] = int(lengths.sum()) / (len(units) * int(recipe["sequence_length"]))
    happened = trainer.state.get("events", [])
    if happened:
        metrics["optimizer_resets"] = float(sum(e["event"] != "diverged" for e in happened))
    seconds = trainer.state["seconds"]
    observations = {
        "training_seconds": seconds,
        "tokens_per_second": tokens / seconds,
        **telemetry.summary(),
    }
    panels = {name: series(table, name) for name in ("loss", "gradient_norm", "learning_rate")}
    panels["tokens_per_second"] = telemetry.speeds()
    images = {"training_curve": curve(list(range(1, len(losses) + 1)), panels, title=stage)}
    if recipe.get("measure_at"):
        points = [
            {"step": 0, **_held_out(before)},
            *trainer.state.get("measured", []),
            {"step": len(plan), **_held_out(after)},
        ]
        table, images["held_out_curve"] = _with_points(table, points, telemetry.tokens, stage)
    return Fitted(table, events_table(happened, stage), metrics, observations, images)


def _collated(examples: Examples, micro_tokens: int) -> list[Batch]:
    """All examples once, as micro-batches."""
    return Batches(examples, singles(examples), [], micro_tokens).collate(range(len(examples)))


def prove_separate(trainer: Trainer) -> None:
    """Show on two documents in a row that the model computes each as if it were alone.

    A model whose forward pass takes no `document_ids` is not asked. Raises PackingError.
    """
    if "document_ids" not in inspect.signature(trainer.model.forward).parameters:
        return
    from resources.training.probe import two_documents

    config: Any = trainer.model.config
    two_documents(trainer.engine, config.vocab_size, SEPARATE[trainer.dtype])


def _enlist(trainer: Trainer, models: Sequence[nn.Module]) -> None:
    """Let models that do not learn work on shared micro-batches like the one that does."""
    for model in models:
        trainer.team.leave(model)
        trainer.team.join(model)


def series(table: pa.Table, metric: str) -> list[float]:
    """The values of one metric in a `training_metrics` table, step by step."""
    names, values = table.column("metric").to_pylist(), table.column("value").to_pylist()
    return [value for name, value in zip(names, values, strict=True) if name == metric]


def _held_out(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of held-out examples under the names they are stored by; the loss is not one."""
    return {f"held_out_{name}": value for name, value in metrics.items() if name != "loss"}


def _with_points(
    table: pa.Table, points: Sequence[Mapping[str, float]], tokens: Sequence[int], stage: str
) -> tuple[pa.Table, bytes]:
    """The metrics with held-out measurements among them, and these as a picture over tokens."""
    import pyarrow as pa

    at = [tokens[int(point["step"]) - 1] if point["step"] else 0 for point in points]
    rows = metrics_table(
        [{"tokens": seen, **point} for seen, point in zip(at, points, strict=True)], stage
    )
    names = [name for name in points[0] if name != "step"]
    panels = {name: [point[name] for point in points] for name in names}
    picture = curve(at, panels, title=f"{stage}: held out", x_label="tokens")
    return pa.concat_tables([table, rows]), picture
