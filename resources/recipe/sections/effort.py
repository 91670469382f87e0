"""What a stage takes, as its section says it: tokens by what is done with them, and its training.

Knows no rates, machines or sizes of models: `resources/costs` makes seconds and bytes of it.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from resources.recipe.sections.base import Section


@dataclass(frozen=True)
class Material:
    """What a stage finds: tokens of a typical `example` and `response`, of the `corpus` once, and
    of the documents `held_out` of it; the parent's `layers`. `samples(name, modes)` are the
    conversations of a source, or of a domain answered in these reasoning modes."""

    example: int
    response: int
    corpus: int
    held_out: float
    layers: int
    samples: Callable[[str, Sequence[str]], int]


@dataclass(frozen=True)
class Work:
    """What one stage trains on: `tokens` in all, sequences of `length`, a step of `batch_tokens`.

    `taught`: a live teacher runs beside it. `chunk` tokens' logits are held at once (None: all of a
    micro-batch); only where `chunks` does the stage have that setting. Each token passes the model
    `forward` further times without training. `dtype` is what the recipe computes in, if it says so.
    """

    stage: str
    tokens: int
    length: int
    batch_tokens: int
    taught: bool = False
    chunk: int | None = None
    chunks: bool = False
    forward: float = 0.0
    dtype: str | None = None

    def record(self) -> dict[str, Any]:
        """As JSON values; what is computed in only where the recipe says it."""
        values = dataclasses.asdict(self)
        return values if self.dtype else {k: v for k, v in values.items() if k != "dtype"}


@dataclass(frozen=True)
class Effort:
    """What an asset takes: the `tokens` that it is about, each once, and what is done with them.

    `trained`, `scored` (read once), `sampled` and `measured` (held out, read) are tokens through
    the whole model; the reward model scores `judged`. `work` is the training, which must fit into
    memory; `alone`: in one process, whatever `ranks` and `hosts` say.
    """

    tokens: int
    trained: float = 0
    scored: float = 0
    sampled: float = 0
    measured: float = 0
    judged: float = 0
    work: Work | None = None
    alone: bool = False


class StageSection(Section):
    """The section of a stage, which says what the stage takes."""

    @abstractmethod
    def efforts(self, checkpoint: str, material: Material) -> dict[str, Effort]:
        """What the stage's assets take, by name: the `checkpoint`, and what it needs of its own."""
