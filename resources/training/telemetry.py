"""How fast a run goes and what it takes: tokens a second, utilisation, memory, the time left.

All of it is observed, none of it decides anything: speeds never enter a result. Knows model
shapes, devices and clocks; where the figures are shown is in `trackers`.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from resources.machine import PeakMemory
from resources.models import accounting
from resources.models.accounting import Shape
from resources.training.data.examples import Batches
from resources.training.trackers import Tracker

if TYPE_CHECKING:
    from resources.execution import Execution

MEASURED_SECONDS = 0.1  # for which a device's matrix rate is measured,
MATRIX = {"cpu": 1024, "cuda": 8192}  # with square matrices of this size
RECENT = 50  # steps that the time left is judged by


def forward_operations(model: nn.Module, lengths: np.ndarray) -> np.ndarray:
    """Operations of a forward pass over documents of the given lengths, each as if alone.

    Matrices cost in proportion to the tokens, attention to their pairs (`accounting`). Raises
    ValueError for a model without a configuration of our kind.
    """
    config = getattr(model, "config", None)
    blocks = getattr(config, "block_configs", None)
    if config is None or blocks is None:
        raise ValueError(f"{type(model).__name__} has no block_configs to count operations from")
    shape = Shape.of(config.to_dict())
    one, two = (accounting.forward_flops(shape, blocks, tokens) for tokens in (1, 2))
    # f(n) = linear n + pair n (n + 1) / 2, so f(1) = linear + pair and f(2) = 2 linear + 3 pair.
    pair = two - 2 * one
    tokens = np.asarray(lengths, np.float64)
    return (one - pair) * tokens + pair * tokens * (tokens + 1) / 2


def operations_of(
    model: nn.Module, batches: Batches, teachers: Sequence[nn.Module] = ()
) -> list[float]:
    """Operations of each step of a run: forward, twice as much backward, and teachers' forward.

    Nothing for a model that is not ours, whose shape is not known.
    """
    if not hasattr(getattr(model, "config", None), "block_configs"):
        return []
    lengths = batches.examples.lengths
    each = 3 * forward_operations(model, lengths)
    for teacher in teachers:
        each = each + forward_operations(teacher, lengths)
    of_unit = np.array([each[np.asarray(unit)].sum() for unit in batches.units])
    return [float(of_unit[step].sum()) for step in batches.steps]


@functools.cache
def matrix_rate(device: str, dtype: str, threads: int) -> float:
    """Operations a second of this device in plain matrix products, measured once a process.

    The best of what fits into a tenth of a second; `threads` only tells measurements apart.
    """
    where = torch.device(device)
    size = MATRIX.get(where.type, 1024)
    # Its own generator: the run's random numbers must not depend on being measured.
    draw = torch.Generator(where).manual_seed(0)
    left, right = (torch.randn(size, size, generator=draw, device=where) for _ in range(2))
    left, right = left.to(getattr(torch, dtype)), right.to(getattr(torch, dtype))

    def seconds() -> float:
        began = time.perf_counter()
        left @ right
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        return time.perf_counter() - began

    seconds()
    times = [seconds()]
    while sum(times) < MEASURED_SECONDS:
        times.append(seconds())
    return 2 * size**3 / min(times)


def peak_rate(execution: Execution, dtype: str) -> float:
    """Operations a second that utilisation is a share of: `flops` of the settings, else measured.

    For one device, in the `dtype` that training computes in.
    """
    return execution.flops or matrix_rate(execution.device, dtype, torch.get_num_threads())


@dataclass
class Telemetry:
    """Follows one run step by step.

    `operations` are those of each step, on all devices together (empty: not known); `peak` what
    `devices` of them could do in a second each. `clock`, the seconds of training at the end of
    each step, and `tokens` likewise belong to the run's resumable state.
    """

    steps: int
    clock: list[float]
    tokens: list[int]
    memory: PeakMemory
    operations: Sequence[float] = ()
    peak: float = 1.0
    devices: int = 1
    trackers: Sequence[Tracker] = field(default_factory=tuple)

    @classmethod
    def of(
        cls,
        state: Mapping[str, Any],
        steps: int,
        execution: Execution,
        dtype: str,
        devices: int = 1,
    ) -> Telemetry:
        """For a run with this resumable state, computed in `dtype` under these settings."""
        return cls(
            steps,
            clock=list(state.get("clock", [])),
            tokens=list(state.get("tokens", [])),
            memory=PeakMemory(execution.device),
            peak=peak_rate(execution, dtype),
            devices=devices,
        )

    def step(self, step: int, metrics: Mapping[str, float], seconds: float, tokens: int) -> str:
        """Take in a finished step (from 1) with the run's seconds and tokens so far.

        Returns the progress line.
        """
        # After a divergence the run has gone back; what came later did not happen.
        self.clock[step - 1 :] = [seconds]
        self.tokens[step - 1 :] = [tokens]
        speed = self._rates(step - 1, step)
        values = {**metrics, **speed, "memory_bytes": float(self.memory.bytes()), "tokens": tokens}
        for tracker in self.trackers:
            tracker.log(step, values)
        line = f"step {step}/{self.steps}, loss {metrics['loss']:.3f}"
        line += f", {speed['tokens_per_second']:,.0f} tokens/s"
        if step < self.steps:
            line += f", {duration(self.left(step))} left"
        return line

    def measured(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hand held-out measurements to the trackers."""
        for tracker in self.trackers:
            tracker.log(step, metrics)

    def left(self, step: int) -> float:
        """Seconds that the remaining steps take at the pace of the recent ones."""
        first = max(0, step - RECENT)
        begun = self.clock[first - 1] if first else 0.0
        return (self.clock[step - 1] - begun) / (step - first) * (self.steps - step)

    def summary(self) -> dict[str, float]:
        """Observations of the run: medians over the steps, and the peak of memory."""
        each = [self._rates(step - 1, step) for step in range(1, len(self.clock) + 1)]
        found = {"peak_memory_bytes": float(self.memory.bytes())}
        if each:
            for name in each[0]:
                found[f"median_{name}"] = statistics.median(rates[name] for rates in each)
        if self.operations:
            found["peak_flops"] = self.peak * self.devices
        return found

    def speeds(self) -> list[float]:
        """Tokens a second of every step."""
        return [
            self._rates(step - 1, step)["tokens_per_second"]
            for step in range(1, len(self.clock) + 1)
        ]

    def _rates(self, first: int, last: int) -> dict[str, float]:
        """Rates over the steps after `first` up to `last`."""
        begun, before = (self.clock[first - 1], self.tokens[first - 1]) if first else (0.0, 0)
        seconds = max(self.clock[last - 1] - begun, 1e-9)
        rates = {"tokens_per_second": (self.tokens[last - 1] - before) / seconds}
        if self.operations:
            done = sum(self.operations[first:last]) / seconds
            rates["mfu"] = done / (self.peak * self.devices)
        return rates

    def close(self) -> None:
        """Finish the trackers."""
        for tracker in self.trackers:
            tracker.close()


def duration(seconds: float) -> str:
    """A length of time in words.

    >>> duration(8.2), duration(310), duration(5000), duration(200000)
    ('8 s', '5 min', '1 h 23 min', '2 d 8 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"
