"""Roles: which model answers is part of what is made, what it is asked with never is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assets.catalog import all_specs
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.spec import Spec


def mine(tmp_path: Path, roles: str) -> Recipe:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: heirloom/smoke\nroles:\n{roles}name: smoke\n")
    return load(path)


def specs(recipe: Recipe) -> dict[str, Spec]:
    return {spec.key: spec for spec in all_specs(recipe)}


def slices(recipe: Recipe) -> dict[str, Any]:
    return {key: (spec.slices(), spec.inputs) for key, spec in specs(recipe).items()}


SERVED = "  teacher: {model: big, engine: {openai: 'http://%s/v1', %s}}\n"


def test_a_served_teacher_is_no_checkpoint(tmp_path: Path) -> None:
    made = specs(mine(tmp_path, SERVED % ("box:8000", "version: r1")))
    assert "parents/teacher" not in made and "parents/teacher_benchmarks" not in made
    asked = made["sft_data/math_generations"]
    assert asked.recipe["teacher"] == {"model": "big", "version": "r1"}
    assert set(asked.inputs) == {"problems", "instruct"} and "off" not in asked.recipe


def test_a_served_off_writer_answers_in_the_place_of_the_checkpoint(tmp_path: Path) -> None:
    pool = "  off: {model: small, engine: {pool: ['http://a', 'http://b']}}\n"
    asked = specs(mine(tmp_path, pool))["sft_data/math_generations"]
    assert asked.recipe["off"] == {"model": "small"}
    assert set(asked.inputs) == {"problems", "teacher"}


def test_where_and_how_fast_a_model_is_asked_decides_nothing(tmp_path: Path) -> None:
    one = slices(mine(tmp_path, SERVED % ("box:8000", "concurrency: 8")))
    key, price = "api_key_env: KEY, timeout: 5.0", "price: {prompt: 1.0, completion: 2.0}"
    assert one == slices(mine(tmp_path, SERVED % ("other", f"{key}, {price}")))
    assert one != slices(mine(tmp_path, SERVED % ("box:8000", "version: v2")))


def test_an_engine_of_a_checkpoint_decides_nothing(tmp_path: Path) -> None:
    usual = slices(load("smoke"))
    engines = (
        "  evaluation: {engine: {vllm: {tensor_parallel: 2}}}\n"
        "  pass_rates: {engine: replay}\n"
        "  teacher: {engine: {pool: [{vllm: {}}, {vllm: {devices: [1]}}]}}\n"
    )
    recipe = mine(tmp_path, engines)
    assert slices(recipe) == usual
    assert not recipe.family.roles["teacher"].served
    named = mine(tmp_path, "  teacher: {model: bundled/teacher, engine: embedded}\n")
    assert slices(named) == usual


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ("  juge: {model: m, engine: embedded}\n", "juge"),
        ("  reward: {model: m, engine: embedded}\n", "asks no such role yet; it comes with"),
        ("  teacher: {engine: {openai: 'http://h'}}\n", "model: name the model as the server"),
        ("  teacher: {model: m, engine: {openai: 'h:80'}}\n", "is no address of a server"),
        ("  teacher: {model: m, engine: {openai: 'http://h', cocurrency: 3}}\n", "concurrency"),
        ("  teacher: {model: m, engine: {pool: ['http://h', {vllm: {}}]}}\n", "cannot share"),
        ("  teacher: {model: m, engine: {pool: []}}\n", "pool"),
        ("  teacher: {model: m, engine: {openai: 'http://h'}, thinking: {on: 3}}\n", "thinking.on"),
        ("  evaluation: {engine: {openai: 'http://h'}, model: m}\n", "a checkpoint of this"),
        ("  pass_rates: {engine: embedded, model: super}\n", "leave it out"),
    ],
)
def test_what_no_role_can_be_is_one_clear_line(tmp_path: Path, roles: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        mine(tmp_path, roles)
    said = str(caught.value)
    assert words in said and "mine.yaml:3: roles." in said and "\n" not in said
