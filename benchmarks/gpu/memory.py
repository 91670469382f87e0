"""A6: what a child process held of the card's memory is free when it is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from benchmarks.gpu import machine
from benchmarks.gpu.part import Outcome, Setup

LEFT = 1e9  # bytes that may stay
SETTLE = 2.0  # seconds that the driver may take to take memory back


def given_back(setup: Setup) -> Outcome:
    """Memory taken on the card after a child that held 8 GB (1 MB in a rehearsal), less before.

    One child ends by itself, one is killed in the middle of its work. Other users of the card
    would be counted too; there must be none. A CPU's memory is not looked at.
    """
    context = multiprocessing.get_context("fork")  # CUDA has not been started in this process
    size = 10**6 if setup.rehearsal else 8 * 10**9
    before = machine.taken_bytes(setup.device)
    left, codes = {}, {}
    for name, killed in (("ended", False), ("killed", True)):
        child = context.Process(target=_hold, args=(setup.device, size, killed))
        child.start()
        child.join()
        codes[name] = child.exitcode
        time.sleep(0 if setup.rehearsal else SETTLE)
        left[name] = machine.taken_bytes(setup.device) - before
    criteria = {f"given back, {name}": value < LEFT for name, value in left.items()}
    ends = codes == {"ended": 0, "killed": -signal.SIGKILL}
    return Outcome({"left_bytes": left, "held_bytes": size}, criteria | {"children ran": ends})


def _hold(device: str, size: int, killed: bool) -> None:
    import torch

    held = torch.ones(size, dtype=torch.uint8, device=device)
    if int(held[-1]) and killed:
        os.kill(os.getpid(), signal.SIGKILL)
