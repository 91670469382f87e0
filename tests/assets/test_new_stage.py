"""A further stage is one field of the model's recipe, one folder under assets/ and one entry."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Annotated

import pytest

from assets import catalog
from assets.evaluation.checkpoints import checkpoints
from resources.costs.budget import predict
from resources.costs.workload import alone, works
from resources.recipe.loading import load
from resources.recipe.schema import Recipe, disagreements
from resources.recipe.sections.effort import Effort, Material, StageSection, Work
from resources.recipe.sections.model import Makes, ModelRecipe
from resources.store.spec import Spec


class Polish(StageSection):
    """A stage that nobody has heard of."""

    steps: int

    def efforts(self, checkpoint: str, material: Material) -> dict[str, Effort]:
        """A response a step is sampled and trained on."""
        tokens = self.steps * material.response
        work = Work(checkpoint, tokens, length=32, batch_tokens=32)
        return {checkpoint: Effort(tokens, trained=tokens, sampled=tokens, work=work, alone=True)}


class Polished(ModelRecipe):
    """The model's recipe with the stage: what a new stage adds to it is this one line."""

    polish: Annotated[Polish | None, Makes("polished", reads=("instruction_prompts",))] = None


def specs(recipe: Recipe) -> list[Spec]:
    """What a new stage's `assets.py` holds."""
    return [
        Spec(
            key=f"{name}/{stage.name}",
            stage="polish",
            fn="assets.polish.train:train",
            inputs={"model": f"{name}/{stage.before}"},
            recipe=stage.section.model_dump(mode="json"),
        )
        for name, model in recipe.models.items()
        for stage in model.line()
        if isinstance(stage.section, Polish)
    ]


@pytest.fixture
def polished() -> Recipe:
    """smoke, with the new stage after nano's SFT."""
    recipe = load("smoke")
    nano = recipe.models["nano"].model_dump() | {"polish": {"steps": 3}}
    model = Polished.model_validate(nano | {"stages": ["sft", "polish"]})
    assert model.artifacts()[-2:] == ["sft_chat", "polished"]
    assert Polished.learned("polished") == "answers"
    return replace(recipe, models={**recipe.models, "nano": model})


def test_a_new_stage_is_listed_planned_measured_and_exported(
    polished: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = polished
    made = ModuleType("assets.polish.assets")
    monkeypatch.setattr(made, "specs", specs, raising=False)
    monkeypatch.setitem(sys.modules, "assets.polish.assets", made)
    monkeypatch.setattr(catalog, "STAGES", (*catalog.STAGES, "polish"))
    found = {spec.key: spec for spec in catalog.all_specs(recipe)}
    assert found["nano/polished"].inputs == {"model": "nano/sft_chat"}
    assert found["nano/exported"].inputs == {"model": "nano/polished"}
    assert "nano/polished_benchmarks" in found
    assert ("nano", "nano/polished", "polished") in checkpoints(recipe)
    assert "nano/polished" in found["evaluation/report"].inputs.values()
    assert not {"nano/rpo", "nano/preference_pairs"} & set(found)
    assert found["nano/polished"].predicted == predict(recipe)["nano/polished"].model_dump()
    assert found["nano/training_plan"].recipe["works"][-1]["stage"] == "polished"
    nano = recipe.models["nano"].model_dump()
    with pytest.raises(ValueError, match="no stage 'polsh'; did you mean 'polish'"):
        Polished.model_validate(nano | {"stages": ["polsh"]})


def test_what_a_new_stage_reads_must_be_there(polished: Recipe) -> None:
    without = polished.family.model_copy(update={"instruction_prompts": None})
    assert [
        (where, what.removeprefix("missing: ").partition(";")[0])
        for where, what in disagreements(without, {"nano": polished.models["nano"]})
        if where == "family.instruction_prompts"
    ] == [("family.instruction_prompts", "nano's polish reads it")]


def test_a_new_stage_costs_what_its_section_says(polished: Recipe) -> None:
    """Three responses of smoke's 45 tokens, trained at 9,000 and sampled at 4,000 a second."""
    planned = predict(polished)["nano/polished"]
    cost = polished.execution.sizes["nano"].relative_cost
    assert planned.tokens == 3 * 45
    assert planned.seconds == pytest.approx(135 * (1 / 9000 + 1 / 4000) * cost)
    assert works(polished, "nano")[-1].record()["tokens"] == 135
    assert "nano/polished" in alone(polished)


def test_a_stage_that_says_no_cost_is_none() -> None:
    class Free(StageSection):
        """A stage that would be planned as one that takes nothing."""

    with pytest.raises(TypeError, match="efforts"):
        Free()  # type: ignore[abstract]
