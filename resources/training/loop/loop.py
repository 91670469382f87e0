"""The training loop: a run from its last checkpoint to its end, guarded against divergence.

It knows trainers, batches by step, and what happened so far; a single step is the trainer's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from resources.training.loop.measuring import Batch, Objective, metrics_table
from resources.training.loop.trainer import NonFiniteError, Trainer
from resources.training.loop.watch import Watch
from resources.training.ranks import runtime

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.recipe.sections.base import Divergence


def train(
    trainer: Trainer,
    batch_of: Callable[[int], Sequence[Batch]],
    objective: Objective,
    *,
    stage: str = "",
    key: str = "",
    save_every_seconds: float,
    guard: Divergence | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> pa.Table:
    """Run the remaining steps and return every step's metrics, those before a resume included.

    `batch_of(step)` gives the micro-batches of the update after `step` completed ones, and must
    depend on nothing else. `key` is the asset in the making, named where the run stops. Result
    columns: stage, step (from 1), tokens (so far), metric, value.

    With a `guard`, a diverged run goes back to its last good checkpoint; there it goes on with
    fresh optimizer states where the guard's `action` or an answer in the work folder says so
    (`trainer.state["events"]` tells), and stops otherwise.

    Raises Diverged when it stops, again at once as long as nobody answered; without a guard
    NonFiniteError on NaN or infinity.
    """
    watch = None if guard is None else Watch(trainer, guard, key)
    history: list[dict[str, float]] = trainer.state.setdefault("history", [])
    saved = time.monotonic()
    while trainer.step < trainer.total_steps:
        started = time.monotonic()
        batches = batch_of(trainer.step)
        tokens = sum(int(b["tokens"] if "tokens" in b else b["input_ids"].numel()) for b in batches)
        try:
            metrics = trainer.update(batches, objective)
        except NonFiniteError as error:
            if watch is None:
                raise
            bad = watch.guard.suspicious + 1
            history = watch.diverged((error.what, error.value, math.inf), error.step, bad)
            continue
        tokens += int(history[-1]["tokens"]) if history else 0
        history.append({"step": trainer.step, "tokens": tokens, **metrics})
        elapsed = time.monotonic() - started
        trainer.state["seconds"] = trainer.state.get("seconds", 0.0) + elapsed
        if on_step is not None:
            on_step(trainer.step, metrics)
        if watch is not None:
            found = watch.guard.judge(metrics["loss"], metrics["gradient_norm"])
            if found is not None:
                history = watch.diverged(found, trainer.step, watch.guard.suspicious)
                continue
        done = trainer.step == trainer.total_steps
        due = runtime.first_decides(time.monotonic() - saved >= save_every_seconds, trainer.device)
        if done or (due and (watch is None or watch.guard.calm)):
            trainer.save()
            saved = time.monotonic()
    return metrics_table(history, stage)
