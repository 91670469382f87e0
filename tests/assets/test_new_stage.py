"""A further stage is one field of the model's recipe, one folder under assets/ and one entry."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Annotated

import pytest

from assets import catalog
from assets.evaluation.checkpoints import checkpoints
from resources.recipe.base import Section
from resources.recipe.loading import load
from resources.recipe.model import Makes, ModelRecipe
from resources.recipe.schema import Recipe
from resources.store.spec import Spec


class Polish(Section):
    """A stage that nobody has heard of."""

    steps: int


class Polished(ModelRecipe):
    """The model's recipe with the stage: what a new stage adds to it is this one line."""

    polish: Annotated[Polish | None, Makes("polished")] = None


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


def test_a_new_stage_is_listed_planned_measured_and_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = load("smoke")
    nano = recipe.models["nano"].model_dump()
    model = Polished.model_validate(nano | {"polish": {"steps": 3}, "stages": ["sft", "polish"]})
    assert model.artifacts()[-2:] == ["sft_chat", "polished"]
    recipe = replace(recipe, models={**recipe.models, "nano": model})
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
    with pytest.raises(ValueError, match="no stage 'polsh'; did you mean 'polish'"):
        Polished.model_validate(nano | {"stages": ["polsh"]})
