"""What a part of the GPU check is given, and what it answers with.

Knows devices; nothing of what the parts measure or of how they are run.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Setup:
    """Where a part runs: `device` (cuda, or cpu in a rehearsal) and a work `folder` of its own."""

    device: str
    folder: Path

    @property
    def rehearsal(self) -> bool:
        """Whether the smallest shapes are asked for: on a CPU, where speeds say nothing."""
        return self.device == "cpu"


@dataclass(frozen=True)
class Outcome:
    """What a part found: figures by name (plain JSON values), and its criteria, met or not.

    A part whose figures are only recorded has no criteria and passes by ending.
    """

    figures: Mapping[str, Any]
    criteria: Mapping[str, bool]


@dataclass(frozen=True)
class Part:
    """A part by its name: `module` and the `function` in it (Setup -> Outcome), what it does, when
    it passes, and the minutes that it is planned to take on a GPU."""

    name: str
    module: str
    function: str
    what: str
    passes: str
    minutes: float

    @property
    def limit(self) -> float:
        """Seconds after which it is ended: half as much again as planned, and its start."""
        return 90 * self.minutes + 30


def median_seconds(work: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Median seconds of a call, after two that warm up; short calls are repeated in a sample."""
    import torch

    from assets.puzzle.costs.timing import interleaved

    [samples] = interleaved([work], torch.device(device), repeats)
    return statistics.median(samples)
