"""One model's path through the recipe: puzzle, fusion, recovery, SFT, RL, preference.

Knows nothing of shared data (see `family.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from resources.recipe.base import (
    DOMAINS,
    Count,
    Domain,
    Given,
    Learning,
    Name,
    NonNegative,
    Positive,
    PositiveShare,
    Reasoning,
    Section,
    Text,
    check_proportions,
    impossible,
)
from resources.recipe.effort import Effort, Material, StageSection, Work
from resources.recipe.errors import nearest
from resources.recipe.puzzle import Fusion, Puzzle
from resources.recipe.reinforcement import Grpo, PreferenceGrpo, Rloo, Rpo

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


PARENT = "parent"
# What all models share lies under these names, beside the models.
TAKEN = ("benchmarks", "evaluation", "parents", "problems", "rl_data", "sft_data", "teacher")


@dataclass(frozen=True)
class Makes:
    """Marks a field of `ModelRecipe` as a stage: the checkpoint that it makes, None where its
    section says the name itself; which of the family's sections it `reads`; and what the model
    `learns` in it, None where it is only made otherwise."""

    checkpoint: str | None = None
    reads: tuple[str, ...] = ()
    learns: Literal["text", "answers"] | None = "answers"


@dataclass(frozen=True)
class Stage:
    """A stage of a model's line: the checkpoint it makes, from which one, by which section."""

    name: str
    before: str
    section: StageSection


class ModelRecipe(Section):
    """One model: a stage that a model skips is null, left out, or not in `stages`, which says what
    runs (null: every stage that there is a section of).

    The fields that are marked `Makes` are the stages, in the order in which they run: a further one
    is a field here, and its assets.
    """

    name: Name
    role: Text = Field(description="what the parent stands for, such as 'Llama-3.1-8B'")
    parent: Given = Field(
        description="parent checkpoint: bundled/…, a path, a GGUF file, or a hub id @ revision"
    )
    stages: list[str] | None = None
    puzzle: Annotated[Puzzle | None, Makes("assembled", reads=("corpus",), learns=None)] = None
    fusion: Annotated[Fusion | None, Makes("fused", learns=None)] = None
    distillation: Annotated[
        Distillation | None, Makes("distilled", reads=("corpus",), learns="text")
    ] = None
    continued_pretraining: Annotated[
        Recovery | None, Makes("continued", reads=("corpus",), learns="text")
    ] = None
    sft: Annotated[list[Sft], Makes()] = Field(default_factory=list)
    grpo: Annotated[Grpo | None, Makes("grpo", reads=("pass_rates",))] = None
    rloo: Annotated[Rloo | None, Makes("rloo", reads=("instruction_prompts",))] = None
    preference: Annotated[
        Annotated[Rpo | PreferenceGrpo, Field(discriminator="method")] | None,
        Makes(reads=("reward_model",)),
    ] = None

    @classmethod
    def stage_fields(cls) -> dict[str, Makes]:
        """The stages that there are, by the names of their sections, in order."""
        marked = ((name, mark) for name, f in cls.model_fields.items() for mark in f.metadata)
        return {name: mark for name, mark in marked if isinstance(mark, Makes)}

    @classmethod
    def readers(cls, shared: str) -> list[str]:
        """The stages that read a section of the family."""
        return [name for name, mark in cls.stage_fields().items() if shared in mark.reads]

    @classmethod
    def learned(cls, checkpoint: str) -> Literal["text", "answers"] | None:
        """What the stage that makes a checkpoint trains on; None of the parent and a raw child."""
        named = {mark.checkpoint: mark.learns for mark in cls.stage_fields().values()}
        return None if checkpoint == PARENT else named.get(checkpoint, "answers")

    def reads(self, shared: str) -> bool:
        """Whether a stage that runs reads a section of the family."""
        return any(getattr(self, name) for name in self.readers(shared))

    @model_validator(mode="before")
    @classmethod
    def _only_what_runs(cls, data: Any) -> Any:
        """Leave out the sections that `stages` does not name."""
        if not isinstance(data, dict) or not isinstance(data.get("stages"), list):
            return data
        names = cls.stage_fields()
        for name in data["stages"]:
            if data["stages"].count(name) > 1:
                raise impossible(f"stages: '{name}' stands twice; name it once")
            if name not in names:
                raise impossible(f"stages: no stage '{name}'; {nearest(str(name), names)}")
            if not data.get(name):
                raise impossible(f"stages: '{name}' has no section; add `{name}: …`")
        return {k: v for k, v in data.items() if k not in names or k in data["stages"]}

    def line(self) -> list[Stage]:
        """Return what runs, in order."""
        made: list[Stage] = []
        before = PARENT
        for field, mark in self.stage_fields().items():
            said = getattr(self, field)
            for section in said if isinstance(said, list) else [said] if said else []:
                name = mark.checkpoint or section.name
                made.append(Stage(name, getattr(section, "start_from", None) or before, section))
                before = name
        return made

    def stage(self, name: str) -> Stage:
        """Return the stage that makes the checkpoint `name`. KeyError where none does."""
        return {stage.name: stage for stage in self.line()}[name]

    def artifacts(self) -> list[str]:
        """Return the model's checkpoints in order, from `parent` to the final one."""
        return [PARENT, *(stage.name for stage in self.line())]

    @property
    def exported(self) -> bool:
        """Whether the final checkpoint's export is made with the family.

        Not where it was searched for this package's own modules, which vLLM may not have, nor
        where it is a further target of another model's library that nothing trains: such a one is
        there to be measured.
        """
        if self.puzzle is None:
            return True
        target = self.puzzle.search.target
        healed = self.learned(self.artifacts()[-1]) is not None
        return (target is None or target.engine != "transformers") and (
            healed or self.puzzle.library_of is None
        )

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        if self.name in TAKEN:
            raise impossible(f"'{self.name}' names what all models share; call the model another")
        return self

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
