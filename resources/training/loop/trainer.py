"""One optimizer step after another on a DeepSpeed engine, saved and resumed to the bit.

It knows a model, an objective and batches; not where any of them came from. Objectives divide by
global totals themselves (see `objectives`), so a step's gradient is the sum over its micro-batches,
whichever rank computes them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from resources.models.precision import Precision
from resources.training import checkpoint
from resources.training.loop.measuring import Batch, Objective, to_device
from resources.training.loop.optimizer import adamw, rate
from resources.training.ranks import recompute, runtime, sharded
from resources.training.ranks.sequence_parallel import Team

if TYPE_CHECKING:
    from resources.execution import Execution
    from resources.recipe.sections.base import Optimizer


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

    It computes in the `dtype` that a recipe asks for (see `Precision.training`); weights and
    optimizer states are float32.
    Under a launcher every rank makes its own Trainer of the same model; checkpoints, written by
    rank 0 as safetensors and JSON into its `workdir`, which all ranks must see, do not depend on
    the number of ranks or on `zero_stage`.
    At stage 3 the model is spread over the ranks; before and after, each has it in host memory.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        total_steps: int,
        workdir: Path,
        seed: int,
        execution: Execution,
        dtype: str | None = None,
    ) -> None:
        if total_steps < 1:
            raise ValueError(f"training needs at least one step, got {total_steps}")
        self.section = optimizer
        self.total_steps = total_steps
        self.step = 0
        self.state: dict[str, Any] = {}
        self.zero_stage = execution.zero_stage
        runtime.bring_up(execution.device, execution.threads)
        self.device = runtime.own_device(execution.device)
        self.world_size = torch.distributed.get_world_size()
        self.rank = torch.distributed.get_rank()
        self.folder = Path(runtime.texts(str(workdir), self.device)[0])
        self.root = self.folder / "checkpoints"
        torch.manual_seed(seed + self.rank)
        self.model = model.train()
        self.dtype = Precision(dtype, execution.device).training
        self.offload = execution.offload_optimizer
        self.team = Team(execution.sequence_parallel)
        self.team.join(model)
        if execution.activation_checkpointing:
            recompute.wrap(model)
        self._open(resets=False)

    def _open(self, resets: bool) -> None:
        """An engine around the model, as the last checkpoint has it; `resets`: fresh moments."""
        found = checkpoint.steps(self.root)
        saved = checkpoint.Saved(found[-1]) if found else None
        if saved is not None:
            if saved.state["total_steps"] != self.total_steps:
                raise checkpoint.ResumeError(
                    f"checkpoint {saved.folder} is of a run of {saved.state['total_steps']} steps, "
                    f"this one has {self.total_steps}: give it its own workdir"
                )
            checkpoint.restore_model(self.model, saved)
        self._norm = math.nan
        self.optimizer = adamw(self.section, self.model)
        if self.zero_stage == 0:
            self.optimizer.register_step_pre_hook(self._clip)
        self.engine = runtime.engine(
            self.model,
            self.optimizer,
            self.device,
            runtime.engine_config(
                self.zero_stage, self.dtype, self.section.gradient_clipping, self.offload
            ),
        )
        if saved is not None:
            if not resets:
                sharded.restore_moments(self.model, self.engine, self.zero_stage, saved)
            sharded.restore_random_states(self.device, saved)
            self.step, self.state = int(saved.state["step"]), saved.state["state"]

    def update(self, micro_batches: Sequence[Batch], objective: Objective) -> dict[str, float]:
        """One optimizer step over all micro-batches, which the ranks share.

        Returns `loss` and the objective's metrics, summed over micro-batches and ranks,
        `learning_rate`, and `gradient_norm` before clipping.
        Raises NonFiniteError before the weights change when the loss or the gradient is not finite.
        """
        if not micro_batches:
            raise ValueError(f"step {self.step + 1} has no micro-batches")
        learning_rate = rate(self.section, self.step, self.total_steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate

        def backward(loss: Tensor) -> None:
            # DeepSpeed averages gradients over ranks; the objective's total is already global.
            self.engine.backward(loss * self.world_size, scale_wrt_gas=False)

        metrics = self._sums(micro_batches, objective, backward)
        if not math.isfinite(metrics["loss"]):
            raise NonFiniteError("the loss", self.step + 1, metrics["loss"])
        self.engine.step()
        if self.zero_stage:
            self._norm = float(self.engine.get_global_grad_norm())
            self._check_norm()
        self.step += 1
        return {**metrics, "learning_rate": learning_rate, "gradient_norm": self._norm}

    @torch.no_grad()
    def evaluate(self, micro_batches: Sequence[Batch], objective: Objective) -> dict[str, float]:
        """As `measuring.evaluate`, with the micro-batches shared by the ranks, at any stage."""
        self.engine.eval()
        try:
            return self._sums(micro_batches, objective, lambda loss: None)
        finally:
            self.engine.train()

    def _sums(
        self,
        micro_batches: Sequence[Batch],
        objective: Objective,
        backward: Callable[[Tensor], None],
    ) -> dict[str, float]:
        """Loss and metrics over all micro-batches and ranks, each part going through `backward`."""
        sums: dict[str, Tensor] = {}
        for batch, counts in self._mine(micro_batches):
            loss = objective(self.engine, to_device(batch, self.device))
            for name, value in {"loss": loss.loss.detach(), **loss.metrics}.items():
                value = value if counts else torch.zeros_like(value)
                sums[name] = sums[name] + value if name in sums else value
            backward(loss.loss if counts else loss.loss * 0.0)
        names = list(sums)
        if self.world_size > 1:
            # A rank whose tokens carry no loss may not have every metric.
            said = runtime.texts(json.dumps(names), self.device)
            names = list(dict.fromkeys(name for text in said for name in json.loads(text)))
        zero = torch.zeros((), dtype=torch.float64, device=self.device)
        values = torch.stack([sums.get(name, zero).double() for name in names])
        if self.world_size > 1:
            torch.distributed.all_reduce(values)
        return dict(zip(names, values.tolist(), strict=True))

    def _mine(self, micro_batches: Sequence[Batch]) -> Iterator[tuple[Batch, bool]]:
        """This rank's micro-batches and whether they count.

        All ranks take as many, because gradients and stage 3's weights travel with each: where
        they do not divide, a small one is computed for nothing.
        """
        spare = min(micro_batches, key=lambda batch: batch["input_ids"].numel())
        for first in range(0, len(micro_batches), self.team.teams):
            index = first + self.team.number
            counts = index < len(micro_batches)
            yield self.team.share(micro_batches[index] if counts else spare), counts

    def reset_optimizer(self) -> None:
        """Forget the optimizer's moments, as LN-Ultra's SFT did (arXiv 2505.00949 §4)."""
        sharded.forget_moments(self.engine, self.zero_stage)

    def save(self, state: dict[str, Any] | None = None) -> None:
        """Write a resumable checkpoint: weights, optimizer, random states, step, `state` (JSON).

        All ranks take part; none ever holds more than a shard of what stages 1 to 3 spread.
        """
        if state is not None:
            self.state = state
        checkpoint.write(
            self.root,
            self.step,
            {
                "model": sharded.weights(self.model),
                "optimizer": sharded.moments(self.model, self.engine, self.zero_stage),
                "random": sharded.random_states(self.device),
            },
            {"step": self.step, "total_steps": self.total_steps, "state": self.state},
            alone=self.rank == 0,
        )
        if self.world_size > 1:
            torch.distributed.barrier()

    def settle(self, dtype: str) -> None:
        """Round the weights to what `dtype` holds of them, when training is over.

        They are float32 still, and checkpoints keep what they were. All ranks take part.
        """
        sharded.settle(self.model, dtype)

    def close(self) -> None:
        """Release what DeepSpeed holds; the model stays usable and is set to evaluation mode."""
        self._release()
        recompute.unwrap(self.model)
        self.team.leave(self.model)
        self.model.eval()

    def rewind(self) -> None:
        """Back to the last checkpoint with fresh optimizer states, as LN-Ultra's SFT went on."""
        self._release()
        self._open(resets=True)

    def _release(self) -> None:
        whole = sharded.assemble(self.model)
        self.engine.destroy()
        self.optimizer.zero_grad(set_to_none=True)
        sharded.release(self.model, whole)

    @property
    def saved_step(self) -> int:
        """Completed steps at the last checkpoint; -1 before the first."""
        found = checkpoint.steps(self.root)
        return checkpoint.step_of(found[-1]) if found else -1

    def _clip(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Just before AdamW's step, when gradients are complete and summed over processes."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        limit = self.section.gradient_clipping or math.inf
        self._norm = float(nn.utils.clip_grad_norm_(parameters, limit))
        self._check_norm()

    def _check_norm(self) -> None:
        if not math.isfinite(self._norm):
            raise NonFiniteError("the gradient norm", self.step + 1, self._norm)
