"""Device hours and memory of training stages, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest

from jobs.cli import main
from jobs.planning.plan import make_plan
from jobs.planning.training_costs import (
    Known,
    known_of,
    refuse_what_does_not_fit,
    show_training_costs,
    training_costs,
)
from resources.costs.placement import DoesNotFitError
from resources.costs.planning import Sizes, narrowed
from resources.models.accounting import Shape, blocks_of, total_parameters
from resources.recipe.loading import load
from resources.recipe.reference import Reference
from resources.recipe.schema import Recipe
from resources.store.home import Home

LLAMA_70B = Shape(8192, 64, 8, 128, 28672, 128256)


@pytest.fixture(scope="module")
def paper() -> Recipe:
    """The paper's recipe."""
    return load("paper")


def with_settings(recipe: Recipe, **settings: object) -> Recipe:
    """The recipe with other execution settings."""
    changed = recipe.execution.model_copy(update=settings)
    return dataclasses.replace(recipe, execution=changed)


def test_tokens_are_the_papers(paper: Recipe) -> None:
    tokens = {stage.key: stage.tokens for stage in training_costs(paper)}
    assert tokens["super/distilled"] == 40e9
    assert (tokens["ultra/distilled"], tokens["ultra/continued"]) == (65e9, 88e9)
    published = {s.key: s.published for s in training_costs(paper) if s.published}
    assert published == {"ultra/grpo": 140000}


def test_hours_are_operations_over_what_devices_do(paper: Recipe) -> None:
    (stage,) = training_costs(paper, {"ultra/continued"})
    # Two operations a weight and token forward (all but the embedding), four passes with the layers
    # computed again; attention over half of 8,192 tokens: 4 x 4,096 x 16,384 a layer and token.
    weights = 253e9 - 128256 * 16384
    by_hand = 4 * 88e9 * (2 * weights + 126 * 4 * 4096 * 16384)
    assert stage.flops == pytest.approx(by_hand, rel=0.01)
    assert stage.hours == pytest.approx(stage.flops / (989e12 * 0.4) / 3600)


def test_a_searched_child_has_the_parameters_asked_for() -> None:
    parent = blocks_of(LLAMA_70B, [("full", "full")] * 80)
    child = narrowed(LLAMA_70B, parent, 49_000_000_000)
    # One channel of all layers is 80 x 3 x 8,192 weights: no width comes nearer than half of that.
    assert abs(total_parameters(LLAMA_70B, child) - 49e9) <= 80 * 3 * 8192 / 2
    assert narrowed(LLAMA_70B, parent, None) == parent
    for impossible in (80_000_000_000, 5_000_000_000):
        with pytest.raises(ValueError, match="cannot come from narrower FFNs of a parent with 70,"):
            narrowed(LLAMA_70B, parent, impossible)


def test_what_does_not_fit_is_refused_with_a_change(
    paper: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_training_costs(paper, {"super/sft"}) == 0
    assert "too many" not in capsys.readouterr().out
    assert paper.execution.hardware is not None
    few = paper.execution.hardware.model_copy(update={"devices": 8})
    assert show_training_costs(with_settings(paper, hardware=few), {"super/sft"}) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "does not fit: super/sft needs" in said
        and "It would fit with the optimizer offloaded" in said
    )


def test_a_run_is_refused_before_it_starts(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--recipe", "practitioner", "--select", "super/sft"]
    for override in (
        "teacher=bundled/teacher",
        "execution.hosts=[]",
        "execution.offload_optimizer=false",
        "execution.hardware.devices=8",
    ):
        arguments += ["--set", override]
    assert main([*arguments, "--home", str(home.path)]) == 1
    assert "super/sft needs 118.5 GB a rank on 8 x H100" in capsys.readouterr().err


def test_without_hardware_nothing_is_planned(
    paper: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_training_costs(with_settings(paper, hardware=None), {"super/sft"}) == 0
    assert training_costs(with_settings(paper, parents={})) == []
    assert not capsys.readouterr().out


def known(**values: object) -> Known:
    """A tiny searched model, a million operations a second by the stage `sft`."""
    shape = Shape(16, 4, 2, 4, 24, 64)
    parent = blocks_of(shape, [("full", "full")] * 2)
    blocks = blocks_of(shape, [("full", "full"), ("noop", "ratio_50")])
    found = Known(Sizes(shape, blocks, parent), {"sft": 1e6, "rloo": 3e6}, "a processor", 2, False)
    return dataclasses.replace(found, **values)  # type: ignore[arg-type]


def test_a_plan_in_the_home_gives_real_sizes_and_seconds_here(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = load("tiny", check_paths=False)
    assert show_training_costs(tiny, {"super/sft"}) == 0 and not capsys.readouterr().out
    [stage] = training_costs(tiny, {"super/sft"}, {"super": known()})
    assert stage.memory.weights == 4 * 4608 and stage.hours is None
    assert known().seconds(stage) == stage.flops / 1e6 / 2
    new = dataclasses.replace(stage, key="super/another")
    assert known().seconds(new) == stage.flops / 2e6 / 2  # the mean of what was measured
    assert show_training_costs(tiny, {"super/sft"}, {"super": known()}) == 0
    out = capsys.readouterr().out
    assert "here" in out and "MB a rank" in out and "hours" not in out
    assert "measured here: super 0.002 GFLOP/s on a processor" in out and "older" not in out


def test_what_was_not_measured_or_is_old_is_said(
    paper: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    without = {"super": known(rates={}, why_not="no GPU is here", stale=True)}
    assert show_training_costs(paper, {"super/sft"}, without) == 0
    out = capsys.readouterr().out
    assert "assumed 40% of 989 TFLOP/s" in out and "H100 hours" in out
    assert "super: not measured here: no GPU is here." in out
    assert "of super are of an older training_plan" in out
    assert training_costs(paper, {"super/sft"}, without)[0].memory.weights < 1e6


def test_an_old_plan_refuses_nothing(paper: Recipe) -> None:
    assert paper.execution.hardware is not None
    small = paper.execution.hardware.model_copy(update={"memory_bytes": 1e3})
    tight = with_settings(paper, hardware=small, parents={})
    with pytest.raises(DoesNotFitError, match="super/sft needs"):
        refuse_what_does_not_fit(tight, {"super/sft"}, {"super": known()})
    refuse_what_does_not_fit(tight, {"super/sft"}, {"super": known(stale=True)})


def test_a_home_without_plans_knows_nothing(home: Home) -> None:
    assert known_of(make_plan(home, Reference("tiny"))) == {}


def test_what_trains_in_one_process_is_not_given_several_ranks() -> None:
    """RL and the reward model would take no notice of `ranks`: said before anything is built."""
    several = with_settings(load("tiny", check_paths=False), ranks=2)
    for key in ("ultra/grpo", "super/rloo", "rl_data/reward_model"):
        with pytest.raises(DoesNotFitError, match=f"^{key} trains in one process, .* asks for 2; "):
            refuse_what_does_not_fit(several, {key})
    refuse_what_does_not_fit(several, {"super/distilled", "super/sft"})
    refuse_what_does_not_fit(load("tiny", check_paths=False), {"ultra/grpo"})
