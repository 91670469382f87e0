"""What distillation minimises: KL to the teacher, next-token loss, hidden states; whole or chunked.

Knows models, batches and the two kinds of teacher: one in memory, and its cached outputs. Knows no
artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from resources.models.loading import load
from resources.models.precision import Precision
from resources.training.distilling import in_chunks, layer_cosine, top_k_distillation
from resources.training.fit import forward, head_of
from resources.training.loop.measuring import Batch, Objective, to_device
from resources.training.objectives import (
    Loss,
    combine,
    cross_entropy,
    distillation,
    hidden_cosine,
)
from resources.training.ranks.runtime import own_device

if TYPE_CHECKING:
    from resources.execution import Execution
    from resources.recipe.sections.supervised import Distillation

# What a cached teacher adds to a batch: `[B,T,k]`, 0 where a token carries no loss.
IDS, LOGS = "teacher_ids", "teacher_log_probabilities"


class Teacher(Protocol):
    """Where a teacher's word on a batch comes from."""

    def told(self, batch: Batch, every: bool) -> tuple[tuple[Tensor, ...], Sequence[Tensor]]:
        """What the divergence needs, `[B,T,...]` each; and, with `every`, the teacher's states.

        States `[B,T,H]` are those after each layer, the last one after the final norm.
        """

    def divergence(self, logits: Tensor, *told: Tensor, total: float) -> Loss:
        """Divergence of the student's `logits [..,V]`; the last of `told` are the weights."""


class LiveTeacher:
    """A teacher in memory: its states are computed batch by batch, its logits where needed.

    Its device may differ from the student's; states and logits go to the student's. It computes in
    what training computes in there (`dtype` where the recipe asks for one).
    """

    def __init__(
        self,
        folder: Path,
        execution: Execution,
        temperature: float = 1.0,
        direction: str = "forward",
        dtype: str | None = None,
    ) -> None:
        self.device = own_device(execution.teacher_device or execution.device)
        device = str(self.device)
        self.model = load(folder, device=device, dtype=Precision(dtype, device).training)
        self.model.requires_grad_(False)
        self.temperature, self.direction = temperature, direction

    @torch.no_grad()
    def told(self, batch: Batch, every: bool) -> tuple[tuple[Tensor, ...], Sequence[Tensor]]:
        home = batch["input_ids"].device
        batch = to_device(batch, self.device)
        if every:
            output = forward(self.model, batch, output_hidden_states=True, output_logits=False)
            states = [state.to(home) for state in output.hidden_states[1:]]
            return (states[-1],), states
        context = self.model.context(
            batch["input_ids"], batch["position_ids"], batch["document_ids"]
        )
        last = self.model.run(self.model.embed(batch["input_ids"]), context)
        return (self.model.finish(last).to(home),), ()

    @torch.no_grad()
    def logits(self, state: Tensor) -> Tensor:
        """The head's logits `[..,V]`, on the device of the states `[..,H]`."""
        return self.model.head(state.to(self.device)).to(state.device)

    def divergence(self, logits: Tensor, *told: Tensor, total: float) -> Loss:
        state, weights = told
        target = self.logits(state)
        return distillation(logits, target, weights, total, self.temperature, self.direction)


class CachedTeacher:
    """A teacher whose top-k log-probabilities come with each batch; forward KL, with a rest bin."""

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def told(self, batch: Batch, every: bool) -> tuple[tuple[Tensor, ...], Sequence[Tensor]]:
        if every:
            raise ValueError("a cached teacher has no hidden states: set hidden and layer weight 0")
        return (batch[IDS], batch[LOGS]), ()

    def divergence(self, logits: Tensor, *told: Tensor, total: float) -> Loss:
        ids, logs, weights = told
        return top_k_distillation(logits, ids.long(), logs, weights, total, self.temperature)


@dataclass(frozen=True)
class Towards:
    """The distillation objective for one teacher.

    Loss: `kl` · divergence + `lm` · cross-entropy + `hidden` · cosine distance of the final states
    + `layer` · mean cosine distance of the layers' states, layer i of the student to layer
    `depth[i]` of the teacher. `chunk` tokens' logits are held at once (None: all).
    """

    teacher: Teacher
    kl: float = 1.0
    lm: float = 0.0
    hidden: float = 0.0
    layer: float = 0.0
    chunk: int | None = None
    depth: Sequence[int] = ()

    @classmethod
    def of(cls, teacher: Teacher, section: Distillation, depth: Sequence[int] = ()) -> Towards:
        """With the weights of a section."""
        return cls(
            teacher,
            kl=section.kl_weight,
            lm=section.lm_weight,
            hidden=section.hidden_weight,
            layer=section.layer_weight,
            chunk=section.chunk,
            depth=depth,
        )

    @property
    def asks(self) -> bool:
        """Whether training asks the teacher, or only what is measured does."""
        return bool(self.kl or self.hidden or self.layer)

    def objective(self, measuring: bool = False) -> Objective:
        """As the loop minimises it; `measuring` adds divergence and cross-entropy where left out.

        Metrics are those of the terms that count.
        """

        def objective(model: nn.Module, batch: Batch) -> Loss:
            return self._loss(model, batch, measuring)

        return objective

    def _loss(self, model: nn.Module, batch: Batch, measuring: bool) -> Loss:
        every = bool(self.hidden or self.layer)
        kl, lm = bool(self.kl) or measuring, bool(self.lm) or measuring
        weights, total = batch["weights"], batch["total"]
        told, targets = self.teacher.told(batch, every) if kl or every else ((), ())
        output = forward(
            model,
            batch,
            output_hidden_states=every or self.chunk is not None,
            output_logits=self.chunk is None,
        )

        def of_logits(logits: Tensor, labels: Tensor, *rest: Tensor) -> Loss:
            terms = []
            if kl:
                terms.append((self.kl, self.teacher.divergence(logits, *rest, total=total)))
            if lm:
                terms.append((self.lm, cross_entropy(logits, labels, rest[-1], total)))
            return combine(*terms)

        terms = []
        if (kl or lm) and self.chunk is None:
            terms.append((1.0, of_logits(output.logits, batch["labels"], *told, weights)))
        elif kl or lm:
            head = head_of(model)
            chunked = in_chunks(
                lambda state, *rest: of_logits(head(state), *rest),
                weights,
                self.chunk or 0,
                output.hidden_states[-1],
                batch["labels"],
                *told,
            )
            terms.append((1.0, chunked))
        if self.hidden:
            last = hidden_cosine(output.hidden_states[-1], targets[-1], weights, total)
            terms.append((self.hidden, last))
        if self.layer:
            states = output.hidden_states[1:]
            terms.append((self.layer, layer_cosine(states, targets, self.depth, weights, total)))
        return combine(*terms)
