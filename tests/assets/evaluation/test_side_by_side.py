"""Checkpoints on the same unseen text: hand-computed means, real small models, one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from assets.catalog import all_specs
from assets.evaluation import checks, compared
from assets.evaluation.assets import specs
from assets.evaluation.side_by_side import compare, held_out, mean_of
from resources.models import loading
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load as load_recipe
from tests.assets.rl import support
from warehouse.store import Artifact, Output, Store

RECIPE = {
    "model": "super",
    "line": ["parent", "sft"],
    "tokens": 40,
    "sequence_length": 12,
    "prompts": ["2 + 2?", "And 3 + 3?"],
    "max_new_tokens": 4,
}


@pytest.fixture(scope="module")
def line(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path
) -> tuple[Store, dict[str, Artifact]]:
    """A parent, a child that is another function, and a corpus with held-out text."""
    store = Store(tmp_path_factory.mktemp("home"))
    parent = support.checkpoint(store, "super/parent", tiny_llama)

    def child(work: Path, inputs: object, recipe: object, execution: object) -> Output:
        model = loading.load(tiny_llama)
        model.lm_head.weight.data.mul_(0.5)
        loading.save(model, work / "made", tiny_llama)
        return Output(files={"": work / "made"})

    def corpus(work: Path, inputs: object, recipe: object, execution: object) -> Output:
        ids = [list(range(5, 5 + n)) for n in (30, 8, 20, 9)]
        rows = pa.table({"row_id": pa.array([bytes([n] * 16) for n in range(4)], pa.binary(16))})
        return Output(tables={"held_out": rows.append_column("text_ids", pa.array(ids))})

    made = {
        "parent": parent,
        "sft": support.build(store, "super/sft", child, {"model": parent}, {}),
        "corpus": support.build(store, "problems/corpus_tokens", corpus, {}, {}),
    }
    return store, made


def test_text_is_the_beginning_of_each_document_until_there_is_enough(
    line: tuple[Store, dict[str, Artifact]],
) -> None:
    texts = held_out(line[1]["corpus"], tokens=21, length=12)
    assert [len(text) for text in texts] == [12, 8, 12]
    assert texts[0].tolist() == list(range(5, 17))
    with pytest.raises(ValueError, match="holds no text out"):
        held_out(line[1]["parent"], tokens=21, length=12)


def test_means_weigh_tokens_not_sequences() -> None:
    mean, low, high = mean_of(np.array([[3.0, 1.0], [1.0, 3.0]]), seed=0)
    assert mean == 1.0
    assert low == pytest.approx(1 / 3) and high == 3.0


def test_a_line_is_compared_with_its_parent(line: tuple[Store, dict[str, Artifact]]) -> None:
    store, inputs = line
    made = support.build(store, "super/side_by_side", compare, inputs, RECIPE)
    assert checks.parent_is_itself(made, inputs).passed
    parent, child = made.table("side_by_side").to_pylist()
    assert child["kl"] > 0 and child["kl_low"] <= child["kl"] <= child["kl_high"]
    assert parent["tokens"] == child["tokens"] == 12 + 8 + 12 + 9
    model = loading.load(inputs["parent"].path(), dtype="float32")
    total = count = 0.0
    for text in held_out(inputs["corpus"], 40, 12):
        ids = torch.from_numpy(text)[None]
        logits = model(ids).logits[0, :-1]
        total += float(
            torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").detach()
        )
        count += len(text) - 1
    assert parent["perplexity"] == pytest.approx(np.exp(total / count), rel=1e-5)
    assert parent["parameters"] == sum(p.numel() for p in model.parameters())
    by_key = {artifact.key: artifact for artifact in (*inputs.values(), made)}
    found = compared.gathered(by_key, ["super"])
    html = compared.section(found)
    assert html.count('class="said"') == 4
    assert "The export" not in html
    measured = {name for name in made.observations if name.endswith("_tokens_per_second")}
    assert measured == {
        f"{stage}_{what}_tokens_per_second"
        for stage in ("parent", "parent_beside", "sft", "sft_beside")
        for what in ("read", "written")
    }
    assert all(made.observations[name] > 0 for name in measured)
    assert "2 + 2?" in html and "KL to the parent" in html
    assert compared.section({}) == ""


def test_it_is_made_where_it_is_asked_for() -> None:
    keys = {spec.key for spec in specs(load_recipe("smol", check_paths=False))}
    assert {"smol/side_by_side", "smol76/side_by_side"} <= keys
    assert not any("side_by_side" in s.key for s in specs(load_recipe("tiny", check_paths=False)))
    section = "side_by_side={tokens: 64, sequence_length: 16}"
    with pytest.raises(RecipeError, match="give corpus a mix"):
        load_recipe("tiny", [section], check_paths=False)


def test_text_is_made_for_it_where_no_stage_reads_any(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "extends: [heirloom/single-gpu, heirloom/laptop]\n"
        "models: {m: {parent: bundled/super, stages: []}}\n"
        "sources: {text: {kind: text, path: 'python:docstrings', license: psf-2.0}}\n"
        "corpus: {mix: {text: 1}, tokens: 64K}\n"
    )
    section = "side_by_side={tokens: 1K, sequence_length: 256}"
    made = {spec.key: spec for spec in all_specs(load_recipe(recipe, [section]))}
    read = {key.split("[")[0] for key in made["m/side_by_side"].inputs.values()}
    assert read == {"m/parent", "problems/corpus_tokens"} <= made.keys()
    assert "problems/corpus_tokens" not in {s.key for s in all_specs(load_recipe(recipe))}
    with pytest.raises(RecipeError, match="set corpus.holdout to 1%"):
        load_recipe(recipe, [section, "corpus.holdout=0%"])
