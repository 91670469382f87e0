"""The reinforcement half of a model's path: GRPO, RLOO, preference stages; knows no reward code."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from resources.recipe.sections.base import (
    Computed,
    Count,
    Domain,
    Name,
    NonNegative,
    Optimizer,
    Positive,
    PositiveShare,
    Reasoning,
    Section,
    check_proportions,
    impossible,
)
from resources.recipe.sections.effort import Effort, Material, StageSection, Work

# Passes of a token beside the one that trains: sampled once, then scored by policy and reference,
# or of a pair by the reference alone.
VERIFIED, PAIRED = 3.0, 1.0


def _practice(material: Material, work: Work, answers: int, examples: int) -> Effort:
    """Answers sampled, examples of them trained on and scored once, in one process."""
    sampled, trained = answers * material.response, examples * material.example
    return Effort(
        sampled + trained, trained=trained, scored=trained, sampled=sampled, work=work, alone=True
    )


class Reward(Section):
    """Weights of the verified answer and of obeying the reasoning toggle."""

    accuracy: NonNegative
    format: NonNegative

    @model_validator(mode="after")
    def _weights(self) -> Self:
        check_proportions({"accuracy": self.accuracy, "format": self.format}, "reward")
        return self


class PolicyGradient(Optimizer, Computed, StageSection):
    """RL with verifiable rewards: a step samples `prompts_per_step` x `samples` responses and
    makes `updates_per_rollout` optimizer updates of `batch_size` responses each.

    `off_share` of the prompts are answered with thinking off; null divides them equally.
    """

    steps: Count
    prompts_per_step: Count
    samples: Annotated[int, Field(ge=2)]
    batch_size: Count
    updates_per_rollout: Count
    temperature: Positive
    top_p: PositiveShare
    max_new_tokens: Count
    clip: list[Annotated[float, Field(gt=0)]] = Field(min_length=2, max_length=2)
    kl_beta: NonNegative
    reasoning: list[Reasoning] = Field(min_length=1)
    off_share: PositiveShare | None = None
    reward: Reward

    @model_validator(mode="after")
    def _batches_add_up(self) -> Self:
        made = self.prompts_per_step * self.samples
        if made != self.batch_size * self.updates_per_rollout:
            raise impossible(
                f"prompts_per_step x samples = {made} responses is not batch_size "
                f"{self.batch_size} x updates_per_rollout {self.updates_per_rollout}; "
                + (
                    f"batch_size {made // self.updates_per_rollout} would be right"
                    if made % self.updates_per_rollout == 0
                    else f"updates_per_rollout must divide {made}"
                )
            )
        return self

    def efforts(self, checkpoint: str, material: Material) -> dict[str, Effort]:
        """Every response is sampled, scored by the policy and by the reference, and trained on."""
        answers = self.steps * self.prompts_per_step * self.samples
        work = Work(
            checkpoint,
            answers * material.response,
            self.max_new_tokens,
            self.batch_size * self.max_new_tokens,
            forward=VERIFIED,
            dtype=self.dtype,
        )
        effort = _practice(material, work, answers, answers)
        return {checkpoint: replace(effort, scored=2 * effort.scored)}


class Curriculum(Section):
    """Easy to hard by pass rate: a Gaussian of width `sigma` whose centre falls step by step."""

    method: Literal["transport", "paper"]
    sigma: Annotated[float, Field(gt=0, le=1)]


class Grpo(PolicyGradient):
    """Reasoning RL on the filtered prompts, in the curriculum's order."""

    curriculum: Curriculum


class Rloo(PolicyGradient):
    """Instruction-following RL on the instruction prompts (leave-one-out baseline)."""


class Round(Section):
    """One preference round: which prompts, in which reasoning modes."""

    domains: dict[Domain, NonNegative] = Field(min_length=1)
    reasoning: list[Reasoning] = Field(min_length=1)

    @field_validator("domains")
    @classmethod
    def _weights(cls, value: dict[Domain, float]) -> dict[Domain, float]:
        check_proportions(value, "domains")
        return value


class Preference(Optimizer, Computed, StageSection):
    """The common part of the preference stages; its `name` is the artifact's.

    A round has a pool of `prompts`, `samples` responses each, and `steps` optimizer updates of
    `batch_size` (pairs for RPO, responses for GRPO).
    """

    name: Name
    rounds: list[Round] = Field(min_length=1)
    steps: Count
    prompts: Count
    samples: Annotated[int, Field(ge=2)]
    batch_size: Count
    temperature: Positive
    top_p: PositiveShare
    max_new_tokens: Count

    @property
    def updates(self) -> int:
        """How many pairs or responses all rounds train on."""
        return len(self.rounds) * self.steps * self.batch_size

    def efforts(self, checkpoint: str, material: Material) -> dict[str, Effort]:
        """Responses are sampled and judged; those that are trained on, the reference scores."""
        answers, size, forward = self._drawn()
        examples, longest = size * self.updates, self.max_new_tokens
        work = Work(
            checkpoint,
            examples * material.response,
            longest,
            size * self.batch_size * longest,
            forward=forward,
            dtype=self.dtype,
        )
        effort = _practice(material, work, answers, examples)
        return {checkpoint: replace(effort, judged=answers * material.example)}

    @abstractmethod
    def _drawn(self) -> tuple[int, int, float]:
        """Responses sampled in all, those of one of a batch, and `Work.forward`."""


class Rpo(Preference):
    """Reward-aware preference optimisation; offline answers once a round, online every step."""

    method: Literal["rpo_offline", "rpo_online"]
    beta: Positive
    eta: Positive
    form: Literal["backward", "forward"]

    @model_validator(mode="after")
    def _enough_prompts(self) -> Self:
        if self.batch_size > self.prompts:
            raise impossible(
                f"batch_size {self.batch_size} is more pairs than the round's {self.prompts} "
                "prompts give; lower it or raise 'prompts'"
            )
        return self

    def _drawn(self) -> tuple[int, int, float]:
        if self.method == "rpo_offline":
            return len(self.rounds) * self.prompts * self.samples, 2, PAIRED
        # All of a prompt's samples are drawn for the two of them that are trained on.
        return self.updates * self.samples, 2, PAIRED + self.samples / 2


class PreferenceGrpo(Preference):
    """GRPO against the reward model."""

    method: Literal["grpo"]
    clip: list[Annotated[float, Field(gt=0)]] = Field(min_length=2, max_length=2)
    kl_beta: NonNegative

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if self.batch_size % self.samples:
            raise impossible(
                f"batch_size {self.batch_size} is not a multiple of samples {self.samples}; "
                f"{max(1, self.batch_size // self.samples) * self.samples} would be"
            )
        if self.batch_size // self.samples > self.prompts:
            raise impossible(
                f"batch_size {self.batch_size} needs {self.batch_size // self.samples} prompts a "
                f"step, more than the round's {self.prompts}; lower it or raise 'prompts'"
            )
        return self

    def _drawn(self) -> tuple[int, int, float]:
        return self.updates, 1, VERIFIED
