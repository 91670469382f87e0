"""Two targets from one library: nothing is made twice, and only a library that fits is shared."""

from __future__ import annotations

from typing import Any

import pytest

from assets.catalog import all_specs
from assets.puzzle.assets import specs
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load


def test_the_second_model_searches_the_first_ones_library() -> None:
    made = {spec.key: spec for spec in specs(load("smol", check_paths=False))}
    second = {key for key in made if key.startswith("smol76/")}
    assert second == {
        f"smol76/{asset}" for asset in ("architecture", "assembled", "cost_report", "search_study")
    }
    reads = made["smol76/architecture"].inputs
    assert reads["block_library"] == "smol/block_library"
    assert reads["block_scores"] == "smol/block_scores"
    assert made["smol76/assembled"].inputs["architecture"] == "smol76/architecture"
    # The parent is one, and is asked the benchmarks once.
    every = {spec.key: spec for spec in all_specs(load("smol", check_paths=False))}
    assert not any(key.startswith("smol76/parent") for key in every)
    assert every["smol76/side_by_side"].inputs["parent"] == "smol/parent"
    # What the library is made of does not depend on who searches it.
    alone = {s.key: s for s in specs(load("smol", ["models.smol76=null"], check_paths=False))}
    assert alone == {key: spec for key, spec in made.items() if key not in second}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("models.smol76.puzzle.library_of=smol67", "no other model 'smol67' with a library"),
        ("models.smol76.puzzle.library_of=smol76", "no other model 'smol76' with a library"),
        ("models.smol76.parent=bundled/super", "smol has another parent"),
        ("models.smol76.puzzle.library.tokens=64", "differs from that of smol"),
    ],
)
def test_a_library_that_does_not_fit_is_refused(override: str, said: str) -> None:
    found: Any
    with pytest.raises(RecipeError, match=said) as found:
        load("smol", [override], check_paths=False)
    assert "\n" not in str(found.value)
