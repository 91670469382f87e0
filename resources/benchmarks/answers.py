"""What a model is asked and what came of it: the values that every method shares.

Knows no method and no table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from resources.engines.identity import Checkpoint
    from resources.execution import Execution
    from resources.recipe.sections.benchmark import Benchmark

Problem = Mapping[str, Any]  # a row of a benchmark's table of problems
Example = Mapping[str, str]  # `prompt` and `target`


@dataclass(frozen=True)
class Subject:
    """Who is asked: a checkpoint (a folder or an artifact), its version, under what settings."""

    checkpoint: Path | Checkpoint
    version: str
    execution: Execution

    @property
    def folder(self) -> Path:
        """The checkpoint's folder."""
        return self.checkpoint if isinstance(self.checkpoint, Path) else self.checkpoint.path()


@dataclass(frozen=True)
class Asked:
    """What is asked: problems, worked examples that stand before each, and the protocol."""

    problems: Sequence[Problem]
    examples: Sequence[Example]
    protocol: Benchmark


@dataclass(frozen=True)
class Answer:
    """One answer to a problem. `verdict` is None where nothing is right or wrong.

    `numbers` are what the method measured of it, such as the log-likelihood of each choice.
    """

    problem: Problem
    response: str
    verdict: Literal["correct", "incorrect", "unknown"] | None
    evidence: str
    reasoning: str | None = None
    sample_index: int = 0
    completion_tokens: int = 0
    truncated: bool = False
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """One number about all answers with its 95 % interval; an accuracy is a share of problems.

    `chance` is what guessing gives, where that is known.
    """

    metric: str
    value: float
    low: float
    high: float
    problems: int
    samples: int = 1
    reasoning: str | None = None
    chance: float | None = None

    @property
    def share(self) -> bool:
        """Whether it is a share of what was asked, as every accuracy is."""
        return self.metric.startswith("accuracy")

    @property
    def at_chance(self) -> bool:
        """Whether guessing would not be told from it: such a score is not to be compared."""
        return self.chance is not None and self.low <= self.chance
