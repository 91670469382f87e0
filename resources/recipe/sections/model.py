"""One model's path through the recipe: which stages there are, in which order, and what each is.

The stages' sections are in `puzzle.py`, `supervised.py` and `reinforcement.py`; knows nothing of
shared data (see `family.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from resources.recipe.errors import nearest
from resources.recipe.sections.base import Given, Name, Section, Text, impossible
from resources.recipe.sections.effort import StageSection
from resources.recipe.sections.puzzle import Fusion, Puzzle
from resources.recipe.sections.reinforcement import Grpo, PreferenceGrpo, Rloo, Rpo
from resources.recipe.sections.supervised import Distillation, Recovery, Sft

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
