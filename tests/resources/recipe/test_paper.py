"""The paper recipe: every number has its source, and the published ones are as published."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.recipe import marks
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.recipe.reading.yaml import parse
from resources.recipe.schema import Recipe
from resources.recipe.tree import Mark, plain
from resources.recipe.tree import marks as marked


@pytest.fixture(scope="module")
def paper() -> Recipe:
    return load("paper")


def test_every_number_is_sourced_or_marked_undisclosed(paper: Recipe) -> None:
    assert marks.unmarked(paper) == []


def test_a_number_without_a_mark_is_found(tmp_path: Path, paper: Recipe) -> None:
    for path in paper.directory.glob("*.yaml"):
        text = path.read_text().replace(
            'prompts_per_step: {value: 72, source: "arXiv 2505.00949 §5: rollout prompt size 72"}',
            "prompts_per_step: 72",
        )
        (tmp_path / path.name).write_text(text)
    assert marks.unmarked(load(tmp_path)) == ["models.ultra.grpo.prompts_per_step"]


def test_published_numbers(paper: Recipe) -> None:
    nano, super_, ultra = (paper.models[name] for name in ("nano", "super", "ultra"))
    assert (nano.sft[0].learning_rate, nano.sft[0].epochs) == (1e-4, 4)
    assert nano.sft[0].batch_tokens == 256 * 32 * 1024
    assert super_.sft[0].learning_rate == super_.sft[0].min_learning_rate == 5e-6
    assert super_.sft[0].batch_tokens == 256 * 16 * 1024
    assert ultra.sft[-1].batch_tokens == 256 * 24 * 1024
    assert (ultra.sft[-1].learning_rate, ultra.sft[-1].min_learning_rate) == (1e-5, 1e-6)
    assert ultra.grpo is not None and super_.rloo is not None
    assert (ultra.grpo.prompts_per_step, ultra.grpo.samples) == (72, 16)
    assert (ultra.grpo.batch_size, ultra.grpo.updates_per_rollout) == (576, 2)
    assert super_.rloo.steps < 120
    assert nano.preference is not None and nano.preference.method == "rpo_offline"
    assert (nano.preference.beta, nano.preference.batch_size) == (3e-2, 512)
    assert super_.preference is not None and super_.preference.method == "rpo_online"
    assert (super_.preference.beta, super_.preference.eta) == (1e-5, 3.0)
    assert ultra.preference is not None and ultra.preference.method == "grpo"
    assert (ultra.preference.kl_beta, ultra.preference.steps) == (1e-3, 30)
    assert super_.distillation is not None and super_.distillation.tokens == 40 * 10**9
    assert ultra.distillation is not None and ultra.distillation.tokens == 65 * 10**9
    assert ultra.continued_pretraining is not None
    assert ultra.continued_pretraining.tokens == 88 * 10**9


def test_the_search_space_has_54_variants_a_layer(paper: Recipe) -> None:
    for name in ("super", "ultra"):
        puzzle = paper.models[name].puzzle
        assert puzzle is not None
        assert len(puzzle.library.attention) * len(puzzle.library.ffn) == 54


def test_cached_tokens_are_the_published_ones(paper: Recipe) -> None:
    costs = [paper.models[name].puzzle for name in ("super", "ultra")]
    cached = [puzzle.costs.batch * puzzle.costs.context for puzzle in costs if puzzle]
    assert cached == [300_000, 3_000_000]


def test_published_rows_reconcile(paper: Recipe) -> None:
    rows = paper.family.published_rows
    assert rows is not None
    parts = [count.total for name, count in rows.items() if name != "all"]
    assert sum(parts) == rows["all"].total == 33_011_757
    for count in rows.values():
        if count.on is not None and count.off is not None:
            assert count.on + count.off == count.total
    reasoning = sum(rows[name].on or 0 for name in ("math", "code", "science", "chat"))
    assert reasoning == 3_934_627


def test_the_docs_table_is_current(paper: Recipe) -> None:
    page = marks.DOCS.read_text(encoding="utf-8")
    assert marks.rewrite(page, paper) == page


def test_a_page_without_markers_is_refused(paper: Recipe) -> None:
    with pytest.raises(RecipeError, match="needs the lines"):
        marks.rewrite("# Recipes", paper)


def test_marks_are_taken_out_at_any_depth() -> None:
    text = "{a: [{value: 1, source: x}], b: {value: {c: null}, undisclosed: y}}"
    tree = parse(text, "f", Path())
    assert plain(tree) == {"a": [1], "b": {"c": None}}
    found = {path: node.mark for path, node in marked(tree)}
    assert found == {("a", 0): Mark(source="x"), ("b",): Mark(undisclosed="y")}
    assert Mark(undisclosed="y").text == "undisclosed, chosen default: y"
