"""Repeated heads compute the same function, and the copied recipe has the paper's space."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resources.models.loading import load
from resources.parents.widen import main, widen
from resources.recipe.loading import load as load_recipe


def test_more_heads_give_the_same_logits(tiny_llama: Path) -> None:
    model = load(tiny_llama)
    wide = widen(model, 8)
    assert (wide.config.num_attention_heads, wide.config.num_key_value_heads) == (8, 8)
    ids = torch.arange(20)[None] % 300
    with torch.no_grad():
        torch.testing.assert_close(wide(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="multiple of 4, not to 6"):
        widen(model, 6)


def test_the_wide_parent_carries_the_54_variants_of_the_paper(
    tmp_path: Path, tiny_llama: Path
) -> None:
    assert main([str(tiny_llama), str(tmp_path / "wide"), "--heads", "8"]) == 0
    heads = "[full, kv_4, kv_2, kv_1, linear, noop]"
    widths = "[full, ratio_87, ratio_75, ratio_50, ratio_25, ratio_20, ratio_10, linear, noop]"
    library = f"models.super.puzzle.library={{attention: {heads}, ffn: {widths}}}"
    recipe = load_recipe("smoke", (f"models.super.parent={tmp_path}/wide", library))
    model = recipe.models["super"]
    assert model.puzzle is not None and model.parent == f"{tmp_path}/wide"
    made = model.puzzle.library
    assert len(made.attention) * len(made.ffn) == 54
