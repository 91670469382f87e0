"""What `heirloom check` says of the forms in which a parent's children can leave."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.checks import asked, shapes
from jobs.checks.asked import Asked
from resources.recipe.loading import load
from resources.recipe.reading.faults import Fault

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "vocab_size": 50,
}


@pytest.mark.parametrize(
    ("values", "form", "said"),
    [
        ({"model_type": "llama"}, "exported as nemotron-nas, for vLLM's own class", None),
        ({"model_type": "qwen3"}, "exported as heirloom", "normalised queries and keys"),
        ({"model_type": "llama", "hidden_act": "gelu"}, "saves nothing", "computes silu only"),
    ],
)
def test_the_form_of_the_export_and_what_it_costs_are_said(
    values: dict[str, str],
    form: str,
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**SIZES, **values}))
    recipe = load("smoke", check_paths=False)
    source = recipe.parent_source(recipe.models["super"].parent)
    monkeypatch.setattr(
        shapes, "named", lambda asked: [(("models", "super", "parent"), source, "parent")]
    )
    monkeypatch.setattr(asked, "assemble", lambda *given: SimpleNamespace(folder=tmp_path))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = list(shapes.exports(Asked(recipe, True, scratch)))
    lines = [each for each in found if isinstance(each, str)]
    assert form in lines[0]
    faults = [each for each in found if isinstance(each, Fault)]
    # Smoke's searches name stock vLLM as their target.
    assert bool(faults) == (said is not None)
    if said is not None:
        assert any(said in str(each) for each in faults) and any(said in line for line in lines)


def test_what_is_not_exported_is_not_said_to_be(tmp_path: Path) -> None:
    recipe = load("smoke", ["models.super.puzzle.search.target={engine: transformers}"])
    lines = [each for each in shapes.exports(Asked(recipe, True, tmp_path)) if each]
    assert any(str(each).startswith("ultra: exported") for each in lines)
    assert not any("super: exported" in str(each) for each in lines)
