"""A training stage killed with SIGKILL at random points, also in the middle of writing."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from resources.execution import Execution
from resources.training import checkpoint
from resources.training.loop.loop import train
from resources.training.loop.trainer import Trainer
from tests.resources.training.rank_targets import CONFIG, batch_of, llama, objective

STEPS, KILLS = 20, 10


def stage(folder: Path, started: Any, last_operation: int | None) -> None:
    """A whole training stage with a checkpoint after every step, in a process of its own.

    With `last_operation` it kills itself just before so many-th operation on files.
    """
    started.set()
    count = 0

    def counted(function: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count == last_operation:
                if function is save_file:  # half a file, as if cut off while writing
                    Path(arguments[1]).write_bytes(b"\0" * 100)
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return call

    import safetensors.torch

    vars(safetensors.torch)["save_file"] = counted(save_file)
    vars(os)["fsync"] = counted(os.fsync)
    vars(shutil)["rmtree"] = counted(shutil.rmtree)
    for name in ("rename", "mkdir", "write_text"):
        setattr(Path, name, counted(getattr(Path, name)))
    model = llama()
    trainer = Trainer(model, CONFIG, STEPS, folder, 5, Execution(threads=1))
    train(trainer, batch_of, objective, save_every_seconds=0.0)
    (folder / "operations").write_bytes(str(count).encode())
    save_file(model.state_dict(), folder / "final.partial")
    os.replace(folder / "final.partial", folder / "final.safetensors")


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that are born with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["deepspeed", __name__])
    return context


def run(
    processes: ForkServerContext,
    folder: Path,
    seconds: float | None = None,
    last_operation: int | None = None,
) -> bool:
    """Run the stage, killed after `seconds`; whether it came to its end."""
    folder.mkdir(exist_ok=True)
    started = processes.Event()
    process = processes.Process(target=stage, args=(folder, started, last_operation))
    process.start()
    assert started.wait(60)
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("by", ["clock", "operation"])
def test_ten_kills_change_nothing(processes: ForkServerContext, tmp_path: Path, by: str) -> None:
    run(processes, tmp_path / "warm")
    began = time.monotonic()
    assert run(processes, tmp_path / "whole")
    length = time.monotonic() - began
    operations = int((tmp_path / "whole" / "operations").read_text())
    assert operations > 10 * STEPS
    whole = load_file(tmp_path / "whole" / "final.safetensors")

    draw = random.Random(7)
    kills = runs = halves = 0
    while kills < KILLS:
        folder = tmp_path / f"run_{runs}"
        runs += 1
        while kills < KILLS:
            if by == "clock":
                ended = run(processes, folder, seconds=draw.uniform(0.1, 0.5) * length)
            else:
                ended = run(processes, folder, last_operation=draw.randrange(1, operations // 3))
            if ended:
                break
            kills += 1
            halves += any((folder / "checkpoints").glob("tmp_*"))
        assert run(processes, folder)
        final = load_file(folder / "final.safetensors")
        assert final.keys() == whole.keys()
        assert all(torch.equal(final[name], whole[name]) for name in whole)
        found = checkpoint.steps(folder / "checkpoints")
        assert [checkpoint.step_of(path) for path in found][-2:] == [STEPS - 1, STEPS]
    assert by == "clock" or halves > KILLS / 2  # most kills left a checkpoint half written
