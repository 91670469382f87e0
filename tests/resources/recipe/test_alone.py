"""Recipes of one stage: only what it reads is needed, and what lacks is named with its reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.catalog import all_specs
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from tests.resources.training.sections import PLAIN

TRAINING: dict[str, Any] = {
    **PLAIN,
    "learning_rate": 1e-4,
    "epochs": 1,
    "batch_tokens": 512,
    "sequence_length": 512,
    "packed": True,
    "samples": 10,
}
MODEL: dict[str, Any] = {"role": "an assistant", "parent": "bundled/super"}


def written(folder: Path, model: dict[str, Any], **shared: Any) -> str:
    """The path of a recipe with one model, and one source of two conversations beside it."""
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    (folder / "chats.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    recipe = {"name": "alone", "seed": 1, "models": {"mine": MODEL | model}, **shared}
    file = folder / "alone.yaml"
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return str(file)


def keys(recipe: str) -> list[str]:
    return [spec.key for spec in all_specs(load(recipe))]


def sources(folder: Path) -> dict[str, Any]:
    path = str(folder / "chats.jsonl")
    return {"chats": {"kind": "conversations", "path": path, "license": "mit"}}


def test_sft_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEIRLOOM_HOME", str(tmp_path / "home"))
    sft = {"main": TRAINING | {"mix": {"chats": 1.0}}, "more": TRAINING | {"mix": {"chats": 1.0}}}
    made = keys(written(tmp_path, {"sft": sft}, sources=sources(tmp_path)))
    line = ["mine/main_blend", "mine/main", "mine/more_blend", "mine/more", "mine/exported"]
    assert made == ["mine/parent", "mine/training_plan", "sft_data/chats", *line]


def test_stages_by_name_share_the_optimizer_and_take_overrides(tmp_path: Path) -> None:
    names = ("schedule", "warmup_ratio", "min_learning_rate", "weight_decay", "betas")
    shared = {name: TRAINING[name] for name in (*names, "gradient_clipping")}
    own = {name: value for name, value in TRAINING.items() if name not in shared}
    sft = {"main": own | {"mix": {"chats": 1.0}}}
    recipe = written(tmp_path, {"sft": sft}, sources=sources(tmp_path), optimizer=shared)
    [stage] = load(recipe).models["mine"].sft
    assert (stage.name, stage.schedule) == ("main", "constant")
    [stage] = load(recipe, ["models.mine.sft.main.learning_rate=2e-5"]).models["mine"].sft
    assert stage.learning_rate == 2e-5


def test_puzzle_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that inherits everything `stages` names what runs."""
    monkeypatch.setenv("HEIRLOOM_HOME", str(tmp_path / "home"))
    file = tmp_path / "puzzle.yaml"
    models = {"super": {"stages": ["puzzle"]}, "ultra": None, "nano": None}
    base: dict[str, Any] = {"extends": "heirloom/tiny", "models": models, "sft_data": None}
    unread = ("pass_rates", "instruction_prompts", "reward_model", "teacher", "generation")
    base |= dict.fromkeys((*unread, "benchmarks", "off_generator"))
    file.write_text(yaml.safe_dump(base))
    made = keys(str(file))
    assert {"super/assembled", "super/architecture", "super/exported"} <= set(made)
    assert not [key for key in made if key.startswith(("sft_data", "rl_data", "evaluation"))]
    assert "super/distilled" not in made and "parents/teacher" not in made


def test_evaluation_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEIRLOOM_HOME", str(tmp_path / "home"))
    greedy = {"temperature": 0.0, "top_p": 1.0}
    shared = {
        "problems": {"math": {"train": 8, "depths": {1: 1.0}, "kinds": {}, "extra_sources": []}},
        "held_out": {"per_domain_per_depth": 2, "depths": [1]},
        "benchmarks": {
            "samples": 1,
            "max_new_tokens": 32,
            "on": greedy,
            "off": greedy,
            "domains": ["math"],
        },
    }
    made = keys(written(tmp_path, {}, **shared))
    assert {"mine/parent_benchmarks", "evaluation/report", "problems/held_out"} <= set(made)
    assert not [key for key in made if key.startswith(("sft_data", "problems/corpus"))]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"stages": ["grpo"]}, "stages: 'grpo' has no section"),
        ({"stages": ["gpro"]}, "stages"),
        ({"sft": {"main": TRAINING | {"mix": {"chat": 1.0}}}}, "no source or domain 'chat'"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, model: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load(written(tmp_path, model, sources=sources(tmp_path)))
