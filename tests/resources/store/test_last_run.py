"""A home speaks of its last run, overrides included, and says when models change their recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.recipe.reference import Reference
from resources.store.home import Home
from resources.store.last_run import chosen, hand_on, recorded, remember, taken_over

SETS = ("models.super.rloo.steps=4", "execution.threads=1")


def test_what_is_typed_goes_before_the_environment_and_the_last_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(home) == Reference("tiny")
    remember(home, Reference("smoke", SETS), ["nano"])
    assert chosen(home) == Reference("smoke", SETS)
    assert chosen(home, overrides=("seed=3",)) == Reference("smoke", (*SETS, "seed=3"))
    assert chosen(home, run=True) == Reference("tiny")
    assert chosen(home, "smoke") == chosen(home, "heirloom/smoke") == Reference("smoke")
    hand_on(Reference("paper", ("seed=2",)))
    assert chosen(home) == Reference("paper", ("seed=2",))
    assert chosen(home, "tiny", ("seed=1",)) == Reference("tiny", ("seed=1",))


def test_a_home_of_before_overrides_is_understood(home: Home) -> None:
    (home.path / "recipe").write_text("smoke\n")
    assert chosen(home) == Reference("smoke")
    assert "'super'" not in str(taken_over(home, Reference("smoke"), ["super"]))
    assert taken_over(home, Reference("smoke"), ["super"]) is None
    assert "super of recipe smoke" in str(taken_over(home, Reference("tiny"), ["super"]))


def test_a_recipe_is_known_wherever_it_is_named_from(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("extends: heirloom/smoke\n")
    monkeypatch.chdir(tmp_path)
    whole = Reference(str(tmp_path / "mine.yaml"), (f"models.super.parent={tmp_path}/p",))
    assert chosen(home, "mine", ("models.super.parent=./p",)) == whole
    assert chosen(home, "./mine.yaml", ("models.super.parent=./p",)) == whole
    assert whole.options() == ["--recipe", whole.recipe, "--set", whole.overrides[0]]


def test_models_of_one_name_in_two_recipes_are_said(home: Home) -> None:
    tiny, smoke = Reference("tiny"), Reference("smoke", SETS)
    assert taken_over(home, tiny, ["nano"]) is None
    remember(home, tiny, ["nano", "super"])
    remember(home, Reference("other"), ["mini"])
    said = taken_over(home, smoke, ["super", "mini", "fresh"])
    assert said is not None and "\n" not in said
    for part in ("super of recipe tiny", "mini of recipe other", "--recipe tiny", "--home DIR"):
        assert part in said
    assert taken_over(home, tiny, ["nano", "super"]) is None
    remember(home, smoke, ["super"])
    last = recorded(home)
    assert last is not None
    assert last.models == {"nano": "tiny", "super": "smoke", "mini": "other"}
