"""The training loop: optimizer steps on a DeepSpeed engine, resumable to the bit.

It knows a model, an objective and batches; not where any of them came from. Objectives divide by
global totals themselves (see `objectives`), so a step's gradient is the sum over its micro-batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from resources.training import checkpoint, runtime
from resources.training.guard import Diverged, GuardConfig
from resources.training.measuring import Batch, Objective, evaluate, metrics_table, to_device
from resources.training.objectives import Loss
from resources.training.optimizer import OptimizerConfig
from resources.training.watch import Watch

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Batch",
    "Diverged",
    "Loss",
    "NonFiniteError",
    "Objective",
    "OptimizerConfig",
    "Trainer",
    "evaluate",
    "metrics_table",
    "train",
]

SAVE_EVERY_SECONDS = 20.0


class NonFiniteError(RuntimeError):
    """A loss or gradient is NaN or infinite; `step` is the optimizer step (from 1)."""

    def __init__(self, what: str, step: int, value: float) -> None:
        super().__init__(
            f"{what} is {value} at optimizer step {step}: lower the learning rate, tighten "
            "gradient_clipping, or forget the optimizer's moments before that step"
        )
        self.step, self.what, self.value = step, what, value


class Trainer:
    """A model, AdamW and a schedule on a DeepSpeed engine; resumes from `workdir` when it can.

    `execution` settings, none of which belongs to the result's identity: `device` (cpu), `threads`,
    `dtype` (float32 on CPU, bfloat16 autocast on CUDA), `zero_stage` (0). Weights and optimizer
    states are float32. At ZeRO stage 0 checkpoints are safetensors and JSON; at stages 1 to 3 the
    sharded states are in DeepSpeed's own format, in this build's private `workdir`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: OptimizerConfig,
        total_steps: int,
        workdir: Path,
        seed: int,
        execution: Mapping[str, Any],
    ) -> None:
        if total_steps < 1:
            raise ValueError(f"training needs at least one step, got {total_steps}")
        device = str(execution.get("device") or "cpu")
        default_dtype = "bfloat16" if device.startswith("cuda") else "float32"
        self.config = optimizer
        self.total_steps = total_steps
        self.step = 0
        self.state: dict[str, Any] = {}
        self.device = torch.device(device)
        self.zero_stage = int(execution.get("zero_stage") or 0)
        self.root = Path(workdir) / "checkpoints"
        runtime.bring_up(device, execution.get("threads"))
        torch.manual_seed(seed)
        self.model = model.to(self.device).train()
        self.dtype = str(execution.get("dtype") or default_dtype)
        self.folder = Path(workdir)
        self._start()
        self.world_size = torch.distributed.get_world_size()
        self.rank = torch.distributed.get_rank()
        self._resume()

    def _start(self) -> None:
        """A fresh optimizer and engine around the model as it is."""
        import deepspeed

        self._norm = math.nan
        self.optimizer = self.config.build(self.model)
        if self.zero_stage == 0:
            self.optimizer.register_step_pre_hook(self._clip)
        self.engine, *_ = deepspeed.initialize(
            model=self.model,
            optimizer=self.optimizer,
            config=runtime.engine_config(
                self.zero_stage, self.dtype, self.config.gradient_clipping
            ),
        )

    def update(self, micro_batches: Sequence[Batch], objective: Objective) -> dict[str, float]:
        """One optimizer step over all micro-batches.

        Returns `loss` and the objective's metrics, summed over micro-batches and processes,
        `learning_rate`, and `gradient_norm` before clipping.
        Raises NonFiniteError before the weights change when the loss or the gradient is not finite.
        """
        if not micro_batches or len(micro_batches) % self.world_size:
            raise ValueError(
                f"step {self.step + 1} has {len(micro_batches)} micro-batches; {self.world_size} "
                "processes need a positive multiple of that"
            )
        rate = self.config.rate(self.step, self.total_steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        sums: dict[str, Tensor] = {}
        for batch in micro_batches[self.rank :: self.world_size]:
            loss = objective(self.engine, to_device(batch, self.device))
            for name, value in {"loss": loss.loss.detach(), **loss.metrics}.items():
                sums[name] = sums[name] + value if name in sums else value
            # DeepSpeed averages gradients over processes; the objective's total is already global.
            self.engine.backward(loss.loss * self.world_size, scale_wrt_gas=False)
        names = list(sums)
        values = torch.stack([sums[name].double() for name in names])
        if self.world_size > 1:
            torch.distributed.all_reduce(values)
        metrics = dict(zip(names, values.tolist(), strict=True))
        if not math.isfinite(metrics["loss"]):
            raise NonFiniteError("the loss", self.step + 1, metrics["loss"])
        self.engine.step()
        if self.zero_stage:
            self._norm = float(self.engine.get_global_grad_norm())
            self._check_norm()
        self.step += 1
        return {**metrics, "learning_rate": rate, "gradient_norm": self._norm}

    def reset_optimizer(self) -> None:
        """Forget the optimizer's moments, as LN-Ultra's SFT did (arXiv 2505.00949 §4)."""
        if self.zero_stage:
            raise NotImplementedError(
                "re-initialising the optimizer needs zero_stage 0: at stages 1 to 3 DeepSpeed owns "
                "the sharded states"
            )
        self.optimizer.state.clear()

    def save(self, state: dict[str, Any] | None = None) -> None:
        """Write a resumable checkpoint: weights, optimizer, random state, step, `state` (JSON)."""
        if state is not None:
            self.state = state
        if self.zero_stage:
            self._save_sharded()
            return
        if self.rank == 0:
            checkpoint.write(
                self.root,
                self.step,
                {
                    "model": checkpoint.unique_tensors(self.model),
                    "optimizer": checkpoint.flatten_optimizer(self.optimizer),
                    "random": self._random_state(),
                },
                {"step": self.step, "total_steps": self.total_steps, "state": self.state},
            )
        if self.world_size > 1:
            torch.distributed.barrier()

    def close(self) -> None:
        """Release what DeepSpeed holds; the model stays usable and is set to evaluation mode."""
        self.engine.destroy()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.eval()

    def rewind(self) -> None:
        """Back to the last checkpoint with fresh optimizer states, as LN-Ultra's SFT went on."""
        self.engine.destroy()
        self.optimizer.zero_grad(set_to_none=True)
        self._start()
        self._resume(optimizer=False)

    @property
    def saved_step(self) -> int:
        """Completed steps at the last checkpoint; -1 before the first."""
        found = checkpoint.steps(self.root)
        return int(found[-1].name.removeprefix("step_")) if found else -1

    def _resume(self, optimizer: bool = True) -> None:
        found = checkpoint.steps(self.root)
        if not found:
            return
        folder = found[-1]
        if self.zero_stage:
            _, client = self.engine.load_checkpoint(
                str(folder), tag="sharded", load_optimizer_states=optimizer
            )
            self.step, self.state = int(client["step"]), client["state"]
            self._restore_random(client["random"])
            return
        tensors, saved = checkpoint.read(folder)
        if saved["total_steps"] != self.total_steps:
            raise checkpoint.CheckpointError(
                f"checkpoint {folder} is of a run of {saved['total_steps']} steps, this one has "
                f"{self.total_steps}: give it its own workdir"
            )
        checkpoint.restore_model(self.model, tensors["model"], folder)
        if optimizer:
            checkpoint.restore_optimizer(self.optimizer, tensors.get("optimizer", {}))
        self._restore_random(tensors["random"])
        self.step, self.state = int(saved["step"]), saved["state"]

    def _random_state(self) -> dict[str, Tensor]:
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _restore_random(self, state: Mapping[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def _save_sharded(self) -> None:
        aside = self.root / f"tmp_{self.step:08d}"
        client = {"step": self.step, "state": self.state, "random": self._random_state()}
        self.engine.save_checkpoint(str(aside), tag="sharded", client_state=client)
        if self.rank == 0:
            checkpoint.publish(aside, self.root / f"step_{self.step:08d}")
        torch.distributed.barrier()

    def _clip(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Just before AdamW's step, when gradients are complete and summed over processes."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        limit = self.config.gradient_clipping or math.inf
        self._norm = float(nn.utils.clip_grad_norm_(parameters, limit))
        self._check_norm()

    def _check_norm(self) -> None:
        if not math.isfinite(self._norm):
            raise NonFiniteError("the gradient norm", self.step + 1, self._norm)


def train(
    trainer: Trainer,
    batch_of: Callable[[int], Sequence[Batch]],
    objective: Objective,
    *,
    stage: str = "",
    save_every_seconds: float = SAVE_EVERY_SECONDS,
    reset_optimizer_at: Collection[int] = (),
    guard: GuardConfig | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> pa.Table:
    """Run the remaining steps and return every step's metrics, those before a resume included.

    `batch_of(step)` gives the micro-batches of the update after `step` completed ones, and must
    depend on nothing else. `reset_optimizer_at` holds completed-step counts at which the moments
    are forgotten. Result columns: stage, step (from 1), tokens (so far), metric, value.

    With a `guard`, a diverged run goes back to its last good checkpoint; there it goes on with
    fresh optimizer states where the guard's `action` or an answer in the work folder says so
    (`trainer.state["events"]` tells), and stops otherwise.

    Raises Diverged when it stops, again at once as long as nobody answered; without a guard
    NonFiniteError on NaN or infinity.
    """
    watch = None if guard is None else Watch(trainer, guard)
    history: list[dict[str, float]] = trainer.state.setdefault("history", [])
    saved = time.monotonic()
    while trainer.step < trainer.total_steps:
        if trainer.step in reset_optimizer_at:
            trainer.reset_optimizer()
        started = time.monotonic()
        batches = batch_of(trainer.step)
        tokens = sum(int(b["tokens"] if "tokens" in b else b["input_ids"].numel()) for b in batches)
        try:
            metrics = trainer.update(batches, objective)
        except NonFiniteError as error:
            if watch is None:
                raise
            history = watch.diverged((error.what, error.value, math.inf), error.step)
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
                history = watch.diverged(found, trainer.step)
                continue
        done = trainer.step == trainer.total_steps
        due = time.monotonic() - saved >= save_every_seconds
        if done or (due and (watch is None or watch.guard.calm)):
            trainer.save()
            saved = time.monotonic()
    return metrics_table(history, stage)
