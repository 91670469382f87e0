"""One supervised run from start to finish: train a model on examples, measure it before and after.

Shared by distillation, continued pretraining and SFT, which differ in their objective and examples
alone. It knows nothing of assets and where examples come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from resources.training.data import Batches, Examples, plan_steps, singles
from resources.training.guard import GuardConfig
from resources.training.loop import (
    SAVE_EVERY_SECONDS,
    Batch,
    Objective,
    Trainer,
    evaluate,
    train,
)
from resources.training.measuring import events_table
from resources.training.objectives import Loss, cross_entropy
from resources.training.optimizer import OptimizerConfig
from resources.training.packing import pack
from resources.training.plots import curve

if TYPE_CHECKING:
    import pyarrow as pa

HELD_OUT_SHARE = 0.05  # of the examples measure the model and are not trained on,
HELD_OUT_MOST = 64  # but no more than this many
ENDS = 0.1  # share of the steps that `loss_first` and `loss_last` average over


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


def fit(
    model: nn.Module,
    training: Examples,
    held_out: Examples,
    objective: Objective,
    recipe: Mapping[str, Any],
    workdir: Path,
    execution: Mapping[str, Any],
    *,
    stage: str,
    measure: str,
    packed: bool = False,
) -> Fitted:
    """Train `model` in place on `training`, resuming from `workdir`.

    `recipe` is a training section (optimizer, `tokens` or `epochs`, `batch_tokens`,
    `sequence_length`) with `seed`. `packed` keeps best-fit packs of `sequence_length` together,
    otherwise examples are drawn one by one; either way a step is about `batch_tokens` tokens and no
    padding is computed. `measure` is the objective's metric reported on the held-out examples.
    An optional `reset_optimizer_after_epoch` forgets the moments at the end of that epoch.
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
    micro_tokens = int(execution.get("micro_batch") or 32) * int(recipe["sequence_length"])
    batches = Batches(training, units, plan, micro_tokens)
    unseen = Batches(held_out, singles(held_out), [], micro_tokens).collate(range(len(held_out)))
    config = OptimizerConfig.from_recipe(recipe)
    # Measured again after a resume, from the same untrained weights: the trainer loads its own.
    device = str(execution.get("device") or "cpu")
    before = evaluate(model.to(device), unseen, objective)
    trainer = Trainer(model, config, len(plan), workdir, seed, execution)
    progress = execution.get("progress")

    def report(step: int, metrics: dict[str, float]) -> None:
        if progress is not None:
            progress(f"step {step}/{len(plan)}, loss {metrics['loss']:.3f}", step / len(plan))

    table = train(
        trainer,
        batches,
        objective,
        stage=stage,
        save_every_seconds=float(execution.get("save_every_seconds", SAVE_EVERY_SECONDS)),
        reset_optimizer_at=_resets(recipe, len(plan)),
        guard=GuardConfig.from_recipe(recipe.get("divergence")),
        on_step=report,
    )
    trainer.close()
    after = evaluate(model, unseen, objective)
    losses = series(table, "loss")
    share = max(1, round(ENDS * len(losses)))
    tokens = table.column("tokens")[-1].as_py()
    metrics = {
        f"held_out_{measure}": after[measure],
        f"held_out_{measure}_before": before[measure],
        **{f"held_out_{k}": v for k, v in after.items() if k not in (measure, "loss")},
        "loss_first": sum(losses[:share]) / share,
        "loss_last": sum(losses[-share:]) / share,
        "steps": float(len(losses)),
        "tokens": float(tokens),
    }
    happened = trainer.state.get("events", [])
    if happened:
        metrics["optimizer_resets"] = float(sum(e["event"] != "diverged" for e in happened))
    seconds = trainer.state["seconds"]
    observations = {"training_seconds": seconds, "tokens_per_second": tokens / seconds}
    panels = ("loss", "gradient_norm", "learning_rate")
    image = curve(
        list(range(1, len(losses) + 1)), {name: series(table, name) for name in panels}, title=stage
    )
    events = events_table(happened, stage)
    return Fitted(table, events, metrics, observations, {"training_curve": image})


def series(table: pa.Table, metric: str) -> list[float]:
    """The values of one metric in a `training_metrics` table, step by step."""
    names, values = table.column("metric").to_pylist(), table.column("value").to_pylist()
    return [value for name, value in zip(names, values, strict=True) if name == metric]


def _resets(recipe: Mapping[str, Any], steps: int) -> Sequence[int]:
    epoch = recipe.get("reset_optimizer_after_epoch")
    if epoch is None:
        return ()
    epochs = recipe.get("epochs")
    if epochs is None or not 1 <= epoch < epochs:
        raise ValueError(
            f"reset_optimizer_after_epoch is {epoch}; it must be at least 1 and below epochs, "
            f"which is {epochs}"
        )
    return (steps // epochs * epoch,)
