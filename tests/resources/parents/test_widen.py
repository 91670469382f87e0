"""Repeated heads compute the same function, and the copied recipe has the paper's space."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from resources.models.loading import load
from resources.parents.widen import main, widen
from resources.recipe.loading import load as load_recipe

SMOKE = Path(__file__).parents[3] / "resources" / "recipe" / "smoke"


def test_more_heads_give_the_same_logits(tiny_llama: Path) -> None:
    model = load(tiny_llama)
    wide = widen(model, 8)
    assert (wide.config.num_attention_heads, wide.config.num_key_value_heads) == (8, 8)
    ids = torch.arange(20)[None] % 300
    with torch.no_grad():
        torch.testing.assert_close(wide(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="multiple of 4, not to 6"):
        widen(model, 6)


def test_the_copied_recipe_has_54_variants_a_layer(tmp_path: Path, tiny_llama: Path) -> None:
    folder = shutil.copytree(SMOKE, tmp_path / "space")
    assert main([str(tiny_llama), str(folder / "wide"), "--heads", "8"]) == 0
    assert main(["--space", str(folder / "super.yaml")]) == 0
    model = load_recipe(folder).models["super"]
    assert model.puzzle is not None and model.parent == "./wide"
    library = model.puzzle.library
    assert len(library.attention) * len(library.ffn) == 54
