"""The supervised half of a model's path: distillation, continued pretraining, SFT.

Knows nothing of shared data (see `family.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from resources.recipe.sections.base import (
    DOMAINS,
    Count,
    Domain,
    Learning,
    Name,
    NonNegative,
    Positive,
    PositiveShare,
    Reasoning,
    check_proportions,
    impossible,
)
from resources.recipe.sections.effort import Effort, Material, StageSection, Work

HELD_OUT_MOST = 64  # examples that training is measured with (`resources/training/fit.py`)


class Recovery(Learning, StageSection):
    """Training that heals a searched model; held-out examples measure it as it goes.

    They do so before, after, and when the shares `measure_at` of the steps are done.
    """

    teachers: ClassVar[int] = 0  # models that read what is learned, and what measures it
    measure_at: list[PositiveShare] = Field(default=[0.1, 0.25, 0.5, 1.0])

    def efforts(self, checkpoint: str, material: Material) -> dict[str, Effort]:
        """One pass over the tokens; a mixture's held-out documents, as often as they measure."""
        tokens = self.tokens or (self.epochs or 1) * material.corpus
        times = 2 + sum(share < 1 for share in self.measure_at)  # before, after, and on the way
        held_out = min(material.held_out, HELD_OUT_MOST * self.sequence_length)
        effort = Effort(
            tokens,
            trained=tokens,
            scored=self.teachers * tokens,
            measured=times * held_out * (1 + self.teachers),
            work=self._work(checkpoint, tokens),
        )
        return {checkpoint: effort}

    def _work(self, checkpoint: str, tokens: int) -> Work:
        return Work(checkpoint, tokens, self.sequence_length, self.batch_tokens, dtype=self.dtype)


class Distillation(Recovery):
    """Distillation from the parent, the sum of weighted terms.

    `kl_weight`: divergence at `temperature`; `lm_weight`: next-token cross-entropy;
    `hidden_weight`: cosine distance of the final states; `layer_weight`: that of every layer's
    states, mean over the layers. `chunk` tokens' logits are held at once (null: all of a
    micro-batch). A `cached` teacher's `top_k` log-probabilities are computed once, as an artifact.
    """

    teachers: ClassVar[int] = 1
    temperature: Positive
    direction: Literal["forward", "reverse"]
    kl_weight: NonNegative = 1.0
    lm_weight: NonNegative = 0.0
    hidden_weight: NonNegative
    layer_weight: NonNegative = 0.0
    chunk: Count | None = None
    teacher: Literal["live", "cached"] = "live"
    top_k: Count | None = None

    @field_validator("teacher", mode="before")
    @classmethod
    def _its_own_parent(cls, value: Any) -> Any:
        if value in ("live", "cached"):
            return value
        raise impossible(
            f"'{value}' cannot teach here: distillation compares logits token by token, so a model "
            "learns from its own parent, 'live' or 'cached'. What another model answers is learned "
            "by SFT, as text: name it as the family's `teacher`"
        )

    @model_validator(mode="after")
    def _terms_agree(self) -> Self:
        if not self.kl_weight + self.lm_weight + self.hidden_weight + self.layer_weight:
            raise impossible("every weight is 0; give kl_weight a positive one")
        if self.teacher == "live":
            if self.top_k is not None:
                raise impossible("top_k is of a cached teacher; leave it out, or 'teacher: cached'")
            return self
        if self.top_k is None:
            raise impossible("'teacher: cached' needs top_k, such as 64")
        if self.direction != "forward":
            raise impossible("a cached teacher gives the forward divergence; direction: forward")
        if not self.kl_weight or self.hidden_weight or self.layer_weight:
            raise impossible(
                "a cached teacher gives its distribution alone; set hidden_weight and "
                "layer_weight to 0 and kl_weight above 0, or 'teacher: live'"
            )
        return self

    def _work(self, checkpoint: str, tokens: int) -> Work:
        work, live = super()._work(checkpoint, tokens), self.teacher == "live"
        return replace(work, taught=live, chunk=self.chunk, chunks=True)


class SftTraining(Learning):
    """How an SFT stage trains on its blend, in full packs where `packed`."""

    packed: bool


class Sft(SftTraining, StageSection):
    """One SFT stage; its `name` is the artifact's. Starts from the checkpoint before it, or the
    artifact `start_from` names. `samples` rows (null: as many as there are) are drawn by the
    weights of `domains`, or of `mix`, which names sources of conversations beside domains.

    Where a domain has both modes, `off_share` of its rows have thinking off; null draws both in
    proportion to the rows there are.
    """

    name: Name
    domains: dict[Domain, NonNegative] = Field(default_factory=dict)
    mix: dict[Name, NonNegative] = Field(default_factory=dict)
    reasoning: list[Reasoning] = Field(default_factory=list)
    off_share: PositiveShare | None = None
    samples: Count | None = None
    start_from: Name | None = None

    @field_validator("domains", "mix")
    @classmethod
    def _weights(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        check_proportions(value, str(info.field_name), empty_allowed=True)
        return value

    @model_validator(mode="after")
    def _something_is_drawn(self) -> Self:
        if bool(self.domains) == bool(self.mix):
            raise impossible("give 'domains' or 'mix', which may name domains and sources")
        domains = any(name in DOMAINS for name in self.weights)
        if domains and not self.reasoning:
            raise impossible("reasoning: name at least one of 'on' and 'off' for the domains")
        if self.reasoning and not domains:
            raise impossible(
                "reasoning says how domains are answered, and 'mix' has sources alone: leave it out"
            )
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each domain and source."""
        return {str(name): weight for name, weight in (*self.domains.items(), *self.mix.items())}

    def efforts(self, checkpoint: str, material: Material) -> dict[str, Effort]:
        """What is drawn, as often as it is passed over."""
        tokens = self.tokens or self._samples(material) * (self.epochs or 1) * material.example
        work = Work(checkpoint, tokens, self.sequence_length, self.batch_tokens, dtype=self.dtype)
        return {checkpoint: Effort(tokens, trained=tokens, work=work)}

    def _samples(self, material: Material) -> int:
        if self.samples:
            return self.samples
        drawn = (name for name, weight in self.weights.items() if weight)
        return max(1, sum(material.samples(name, self.reasoning) for name in drawn))
