"""A3: a training stage that is killed and goes on, at ZeRO 0 and at ZeRO 1 on one rank."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gpu.part import Outcome, Setup

if TYPE_CHECKING:
    from torch import Tensor

    Named = Mapping[str, Tensor]

STEPS, KILLED_AT = 4, 2
STAGES = (0, 1)


def resume(setup: Setup) -> Outcome:
    """A run of 4 steps is killed by SIGKILL in its 2nd, before that step is saved, and goes on in
    another process; its weights are compared with those of a run that nothing disturbed.

    Kernels are deterministic where torch has such kernels (it warns in the log where it has none).
    The tolerance is 0. The difference between the two stages' weights is recorded.
    """
    import torch

    context = multiprocessing.get_context("fork")  # CUDA has not been started in this process
    codes = []
    for stage in STAGES:
        child = context.Process(
            target=_train, args=(setup, setup.folder / f"killed_{stage}", stage, KILLED_AT)
        )
        child.start()
        child.join()
        codes.append(child.exitcode)
    found = {}
    differences = {}
    for stage in STAGES:
        resumed = _train(setup, setup.folder / f"killed_{stage}", stage)
        found[stage] = _train(setup, setup.folder / f"undisturbed_{stage}", stage)
        differences[f"zero_{stage}"] = _largest(resumed, found[stage])
    figures = {
        "largest_difference": differences,
        "between_stages": _largest(found[0], found[1]),
        "steps": STEPS,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    criteria = {f"bit-equal at {name}": value == 0 for name, value in differences.items()}
    return Outcome(figures, criteria | {"killed": codes == [-signal.SIGKILL] * len(STAGES)})


def _train(setup: Setup, folder: Path, stage: int, killed_at: int | None = None) -> Named:
    """The weights after the run in `folder`, which begins where its last checkpoint ends."""
    import torch

    from benchmarks.gpu.models import SMALL, configured, packed, random_model
    from benchmarks.gpu.training import OPTIMIZER
    from resources.execution import Execution
    from resources.training.fit import language_model_loss
    from resources.training.loop.loop import train
    from resources.training.loop.trainer import Trainer

    torch.use_deterministic_algorithms(True, warn_only=True)
    # Else torch fills the gigabytes of buckets that DeepSpeed allocates and never reads.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # The bits are asked for, not the size: 47 M parameters.
    config = configured(setup, [("full", "full")] * 4, SMALL)
    model = random_model(config, setup.device, torch.float32)
    document, row = (8, 32) if setup.rehearsal else (512, 4096)
    batches = packed(config.vocab_size, document, row, STEPS)
    trainer = Trainer(
        model,
        OPTIMIZER,
        STEPS,
        folder,
        0,
        Execution(device=setup.device, threads=1, zero_stage=stage),
    )

    def on_step(step: int, metrics: object) -> None:
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train(
        trainer,
        lambda step: [batches[step] | {"total": float(batches[step]["weights"].sum())}],
        language_model_loss,
        save_every_seconds=float("inf") if killed_at is None else 0.0,
        on_step=on_step,
    )
    trainer.close()
    return {name: tensor.cpu().clone() for name, tensor in model.state_dict().items()}


def _largest(one: Named, other: Named) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)
