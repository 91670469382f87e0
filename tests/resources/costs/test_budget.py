"""The bundled recipes stay inside what two cores allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.costs import budget
from resources.costs.budget import Planned
from resources.costs.parents import size_of
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.recipe.sections.supervised import HELD_OUT_MOST
from resources.training import fit


@pytest.fixture(scope="module")
def tiny() -> Recipe:
    return load("tiny", check_paths=False)


def seconds(plans: dict[str, Planned], *endings: str) -> float:
    return sum(plan.seconds for stage, plan in plans.items() if stage.endswith(endings))


def tokens(plans: dict[str, Planned], ending: str) -> list[int]:
    return [plan.tokens for key, plan in plans.items() if key.endswith(ending)]


def test_tiny_keeps_to_its_budget(tiny: Recipe) -> None:
    plans = budget.predict(tiny)
    assert seconds(plans, "block_library", "block_scores") <= 90
    assert seconds(plans, "distilled", "continued") <= 110
    assert 230_000 <= sum(tokens(plans, "_generations")) <= 300_000
    # What it takes until 99 % of the answers obey the toggle, both ways.
    assert seconds(plans, "sft_reasoning", "sft_mixed", "sft_chat", "/sft") <= 235
    assert seconds(plans, "reward_model", "/rpo", "/rlhf") <= 155
    assert sum(plan.seconds for plan in plans.values()) <= 19 * 60


def test_tiny_has_the_agreed_sizes(tiny: Recipe) -> None:
    family, models = tiny.family, tiny.models
    for model in models.values():
        if model.puzzle is not None:
            assert len(model.puzzle.library.attention) * len(model.puzzle.library.ffn) <= 12
    assert (family.pass_rates.prompts, family.pass_rates.samples) == (256, 8)
    grpo = models["ultra"].grpo
    assert grpo is not None
    assert (grpo.steps, grpo.prompts_per_step, grpo.samples) == (16, 16, 8)
    assert [models[m].rloo.steps for m in ("super", "ultra")] == [8, 8]  # type: ignore[union-attr]
    held_out = family.held_out
    problems = (
        len(family.own_benchmarks.domains) * len(held_out.depths) * held_out.per_domain_per_depth
    )
    assert problems >= 200


def test_smoke_is_small() -> None:
    plans = budget.predict(load("smoke", check_paths=False))
    assert sum(plan.seconds for plan in plans.values()) <= 90


def test_declared_benchmarks_are_counted() -> None:
    """100 problems of 160 tokens read and 8 written; of choices nothing is written."""
    plans = budget.predict(load("smol", check_paths=False))
    sums = plans["smol76/assembled_benchmark_sums"]
    assert sums.tokens == 100 * (160 + 8)
    assert sums.seconds == pytest.approx(100 * 160 / 725 + 100 * 8 / 147)
    assert plans["smol/parent_benchmark_continuation"].tokens == 500 * 66  # 1.5 * (20 + 4 * 6)
    assert "smol76/parent_benchmark_continuation" not in plans


def test_recovery_counts_what_measures_it() -> None:
    """Parent and child on at most 64 held-out examples, before, after and at each share between."""
    assert HELD_OUT_MOST == fit.HELD_OUT_MOST
    section = "models.smol.distillation.measure_at="
    plans = [
        budget.predict(load("smol", [section + shares], check_paths=False))["smol/distilled"]
        for shares in ("[1.0]", "[0.5, 1.0]", "[0.1, 0.25, 0.5, 1.0]")
    ]
    once = plans[1].seconds - plans[0].seconds
    assert once == pytest.approx(2 * 16_000 / 725, rel=0.05)
    assert plans[2].seconds - plans[0].seconds == pytest.approx(3 * once)


def test_recovery_by_epochs_counts_the_corpus_as_often() -> None:
    changes = ["tokens=null", "epochs=3"]
    recipe = load("smol", [f"models.smol.distillation.{each}" for each in changes])
    assert budget.predict(recipe)["smol/distilled"].tokens == 3 * 160_000


def test_a_parent_of_another_size_costs_in_proportion() -> None:
    stated = load("tiny")
    unstated = load("tiny", ["execution.sizes=null"])
    rates = stated.execution.rates.parameters
    size = size_of(unstated, "super")
    assert size.layers == 8 and size.relative_cost == pytest.approx(1_886_000 / rates, rel=0.01)
    assert size_of(stated, "super") == stated.execution.sizes["super"]
    assert size_of(unstated, "nobody").relative_cost == 1.0
    small, large = (
        budget.predict(load("tiny", [f"execution.rates.parameters={n}", "execution.sizes=null"]))[
            "super/distilled"
        ].seconds
        for n in (2_000_000, 1_000_000)
    )
    assert large == pytest.approx(2 * small)


def test_a_stage_without_a_number_of_samples_is_costed_by_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(b"x" * 4 * 85 * 10)
    (tmp_path / "mine.yaml").write_text(
        "extends: heirloom/smoke\n"
        "sources: {c: {kind: conversations, path: ./c.jsonl, license: mit}}\n"
        "models:\n  nano:\n    sft:\n"
        "      - {name: sft_chat, mix: {c: 1, science: 1}, packed: true,\n"
        "         reasoning: ['on'], epochs: 3, batch_tokens: 1024, sequence_length: 256,\n"
        "         learning_rate: 1e-3, min_learning_rate: 1e-4}\n"
    )
    recipe = load(str(tmp_path / "mine.yaml"))
    science = recipe.family.sft_data["science"]
    rows = 10 + science.prompts * science.samples_on
    assert recipe.execution.typical.example == 85
    assert budget.predict(recipe)["nano/sft_chat"].tokens == rows * 85 * 3
