"""One model's path through the recipe: puzzle, fusion, recovery, SFT, RL, preference.

Knows nothing of shared data (see `family.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from resources.recipe.base import (
    Count,
    Domain,
    Name,
    NonNegative,
    Positive,
    PositiveShare,
    Reasoning,
    Section,
    Text,
    Training,
    check_weights,
    impossible,
)
from resources.recipe.errors import nearest
from resources.recipe.puzzle import Fusion, Puzzle
from resources.recipe.reinforcement import Grpo, PreferenceGrpo, Rloo, Rpo


class Distillation(Training):
    """Distillation from the parent: KL at `temperature` + `hidden_weight` x hidden cosine."""

    temperature: Positive
    direction: Literal["forward", "reverse"]
    hidden_weight: NonNegative


class Sft(Training):
    """One SFT stage; its `name` is the artifact's. Starts from the checkpoint before it, or the
    artifact `start_from` names. `samples` rows are drawn by the domain weights.

    Where a domain has both modes, `off_share` of its rows have thinking off; null draws both in
    proportion to the rows there are.
    """

    name: Name
    domains: dict[Domain, NonNegative] = Field(min_length=1)
    reasoning: list[Reasoning] = Field(min_length=1)
    off_share: PositiveShare | None = None
    samples: Count
    packed: bool
    start_from: Name | None = None

    @field_validator("domains")
    @classmethod
    def _weights(cls, value: dict[Domain, float]) -> dict[Domain, float]:
        check_weights(value, "domains")
        return value


class ModelRecipe(Section):
    """One model: a stage that a model skips is null or left out."""

    name: Name
    role: Text = Field(description="what the parent stands for, such as 'Llama-3.1-8B'")
    parent: Text = Field(description="parent checkpoint: bundled/…, a path, or a hub id")
    puzzle: Puzzle | None = None
    fusion: Fusion | None = None
    distillation: Distillation | None = None
    continued_pretraining: Training | None = None
    sft: list[Sft] = Field(min_length=1)
    grpo: Grpo | None = None
    rloo: Rloo | None = None
    preference: Annotated[Rpo | PreferenceGrpo, Field(discriminator="method")] | None = None

    def artifacts(self) -> list[str]:
        """Return the model's checkpoints in order, from `parent` to the final one."""
        line = ["parent"]
        line += ["assembled"] if self.puzzle else []
        line += ["fused"] if self.fusion else []
        line += ["distilled"] if self.distillation else []
        line += ["continued"] if self.continued_pretraining else []
        line += [stage.name for stage in self.sft]
        line += ["grpo"] if self.grpo else []
        line += ["rloo"] if self.rloo else []
        line += [self.preference.name] if self.preference else []
        return line

    @model_validator(mode="after")
    def _line_holds(self) -> Self:
        line = self.artifacts()
        for name in line:
            if line.count(name) > 1:
                raise impossible(f"two stages are named '{name}'; name each stage once")
        if self.fusion and not self.puzzle:
            raise impossible("fusion needs a puzzle section: only attention-free layers are fused")
        for stage in self.sft:
            before = line[: line.index(stage.name)]
            if stage.start_from is not None and stage.start_from not in before:
                raise impossible(
                    f"sft stage '{stage.name}' starts from '{stage.start_from}', which is not an "
                    f"earlier checkpoint; {nearest(stage.start_from, before)}"
                )
        return self
