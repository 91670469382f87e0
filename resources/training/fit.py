"""One supervised run from start to finish: train a model on examples, measure it as it goes.

Shared by distillation, continued pretraining and SFT, which differ in their objective and examples
alone. It knows nothing of assets and where examples come from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from resources.training import trackers
from resources.training.data.bins import pack
from resources.training.data.examples import Batches, Examples, plan_steps, singles
from resources.training.loop.loop import train
from resources.training.loop.measuring import (
    Batch,
    Objective,
    events_table,
    measured_steps,
    metrics_table,
)
from resources.training.loop.trainer import Trainer
from resources.training.objectives import Loss, cross_entropy
from resources.training.plots import curve
from resources.training.ranks import launch
from resources.training.telemetry import Telemetry, operations_of

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.recipe.sections.base import Learning

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


@dataclass
class Run:
    """One training of `model`, in place, resuming from `workdir`.

    `section` says how, `seed` orders the data, `key` is the asset in the making and `stage` the
    name of the run in its tables. `packed` keeps full packs of `sequence_length` together,
    otherwise examples are drawn one by one; either way a step is about `batch_tokens` tokens and no
    padding is computed.

    Held-out examples are measured before, after, and once the shares `measure_at` of the steps are
    done, with what `measuring` makes (default: `objective`); `measure` is the metric that leads.
    The examples of `further` are measured by `objective` beside them, each set under its name.
    `attach` adds to micro-batches what an objective needs of each example, for training and
    held-out ones. `teachers` run forward in each step. Weights are float32 until the end; those
    that are measured last are rounded to `published`, the dtype that they are stored in.
    """

    model: nn.Module
    training: Examples
    held_out: Examples
    objective: Objective
    section: Learning
    workdir: Path
    execution: Execution
    _: KW_ONLY
    seed: int
    key: str
    stage: str
    measure: str
    packed: bool = False
    measure_at: Sequence[float] = ()
    measuring: Measuring | None = None
    further: Mapping[str, Examples] = field(default_factory=dict)
    attach: tuple[Attach, Attach] | None = None
    teachers: Sequence[nn.Module] = ()
    published: str | None = None

    def fit(self) -> Fitted:
        """Train from beginning to end. Of several ranks all but the first end with the training.

        Raises PackingError when the model lets packed documents see each other.
        """
        self._prepare()
        table = self._steps()
        if self.published is not None:
            self.trainer.settle(self.published)
        after = self._measured()
        self._close()
        return self._outcome(table, after)

    def _prepare(self) -> None:
        """Plan the steps, make the trainer, and measure the model that it begins with."""
        length = self.section.sequence_length
        lengths = self.training.lengths
        self.units = pack(lengths.tolist(), length) if self.packed else singles(self.training)
        self.plan = plan_steps(
            [int(lengths[unit].sum()) for unit in self.units],
            self.section.batch_tokens,
            self.seed,
            tokens=self.section.tokens,
            epochs=self.section.epochs,
        )
        micro_tokens = self.execution.micro_batch * length
        self.batches = Batches(self.training, self.units, self.plan, micro_tokens)
        self.unseen = _collated(self.held_out, micro_tokens)
        self.others = {name: _collated(each, micro_tokens) for name, each in self.further.items()}
        if self.attach is not None:
            self.unseen = self.attach[1](range(len(self.held_out)), self.unseen)
        trackers.check(self.execution.trackers)
        self.trainer = Trainer(
            self.model,
            self.section,
            len(self.plan),
            self.workdir,
            self.seed,
            self.execution,
            self.section.dtype,
        )
        prove_separate(self.trainer)
        _enlist(self.trainer, self.teachers)
        if self.trainer.step == 0:
            self.trainer.state.setdefault("before", self._measured())
        self.telemetry = self._telemetry()
        self.due = measured_steps(self.measure_at, len(self.plan))

    def _telemetry(self) -> Telemetry:
        trainer, execution = self.trainer, self.execution
        made = Telemetry.of(
            trainer.state, len(self.plan), execution, trainer.dtype, trainer.world_size
        )
        made.operations = operations_of(self.model, self.batches, self.teachers)
        if trainer.rank == 0:
            made.trackers = trackers.open_all(
                execution.trackers,
                Path(execution.home or self.workdir),
                self.key,
                self.workdir.name[:12],
                trainer.step,
            )
        return made

    def _steps(self) -> pa.Table:
        """The remaining steps; metrics of all of them."""
        try:
            return train(
                self.trainer,
                self._batch_of,
                self.objective,
                stage=self.stage,
                key=self.key,
                save_every_seconds=self.execution.save_every_seconds,
                guard=self.section.divergence,
                on_step=self._report,
            )
        finally:
            self.telemetry.close()

    def _batch_of(self, step: int) -> list[Batch]:
        made = self.batches(step)
        if self.attach is None:
            return made
        examples = [i for unit in self.plan[step] for i in self.units[int(unit)]]
        return self.attach[0](examples, made)

    def _report(self, step: int, metrics: dict[str, float]) -> None:
        state, telemetry = self.trainer.state, self.telemetry
        line = telemetry.step(step, metrics, state["seconds"], int(state["history"][-1]["tokens"]))
        state["clock"], state["tokens"] = telemetry.clock, telemetry.tokens
        if step in self.due:
            # Kept in the run's state: a resumed run has what it measured before.
            found = _held_out(self._measured())
            state.setdefault("measured", []).append({"step": step, **found})
            telemetry.measured(step, found)
        self.execution.progress(line, step / len(self.plan))

    def _measured(self) -> dict[str, float]:
        """What the model does on examples that it is not trained on."""
        asked, models = self.measuring() if self.measuring else (self.objective, ())
        _enlist(self.trainer, models)
        found = self.trainer.evaluate(self.unseen, asked)
        for name, batches in self.others.items():
            part = self.trainer.evaluate(batches, self.objective)
            found |= {f"{name}_{metric}": part[metric] for metric in part if metric != "loss"}
        return found

    def _close(self) -> None:
        self.trainer.close()
        for parameter in self.model.parameters():
            # ZeRO 1 and 2 leave parameters as views of one buffer, which checkpoint files refuse.
            if parameter.untyped_storage().nbytes() > parameter.nbytes:
                parameter.data = parameter.data.clone()
        launch.first_goes_on()

    def _outcome(self, table: pa.Table, after: Mapping[str, float]) -> Fitted:
        state, telemetry = self.trainer.state, self.telemetry
        losses, happened = series(table, "loss"), state.get("events", [])
        tokens = table.column("tokens")[-1].as_py()
        observations = {
            "training_seconds": state["seconds"],
            "tokens_per_second": tokens / state["seconds"],
            **telemetry.summary(),
        }
        panels = {name: series(table, name) for name in ("loss", "gradient_norm", "learning_rate")}
        panels["tokens_per_second"] = telemetry.speeds()
        steps = list(range(1, len(losses) + 1))
        images = {"training_curve": curve(steps, panels, title=self.stage)}
        metrics = self._metrics(losses, tokens, after)
        if happened:
            metrics["optimizer_resets"] = float(sum(e["event"] != "diverged" for e in happened))
        if self.measure_at:
            points = [
                {"step": 0, **_held_out(state["before"])},
                *state.get("measured", []),
                {"step": len(self.plan), **_held_out(after)},
            ]
            table, picture = _with_points(table, points, telemetry.tokens, self.stage)
            images["held_out_curve"] = picture
        return Fitted(table, events_table(happened, self.stage), metrics, observations, images)

    def _metrics(
        self, losses: Sequence[float], tokens: int, after: Mapping[str, float]
    ) -> dict[str, float]:
        share, leading = max(1, round(ENDS * len(losses))), f"held_out_{self.measure}"
        metrics = {
            leading: after[self.measure],
            f"{leading}_before": self.trainer.state["before"][self.measure],
            **{name: value for name, value in _held_out(after).items() if name != leading},
            "loss_first": sum(losses[:share]) / share,
            "loss_last": sum(losses[-share:]) / share,
            "steps": float(len(losses)),
            "tokens": float(tokens),
        }
        if self.packed:
            room = len(self.units) * self.section.sequence_length
            metrics["pack_fill"] = int(self.training.lengths.sum()) / room
        return metrics


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
