"""Training plans: bytes and operations by hand, real sizes, what makes a plan stale, the checks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from assets.planning import assets, pace
from resources.costs import planning
from resources.costs.placement import Machine
from resources.costs.planning import Settings, Sizes
from resources.execution import Execution
from resources.models.accounting import blocks_of
from resources.models.config import HeterogeneousDecoderConfig
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.recipe.sections.effort import Work
from resources.recipe.sections.execution import Hardware
from resources.store.building import code_of, materialise, states_of
from resources.store.spec import Spec
from tests.assets.planning.sized import CHOSEN, CONFIG, SHAPE
from warehouse.catalog import connect
from warehouse.store import Artifact, Store

PARENT = blocks_of(SHAPE, [("full", "full")] * 2)
SIZES = Sizes(SHAPE, blocks_of(SHAPE, CHOSEN), PARENT)
WORK = Work("distilled", tokens=80, length=8, batch_tokens=16, taught=True)
ALONE = Settings("cpu", ranks=1, zero_stage=0, micro_batch=4)
EXECUTION = Execution(threads=1)


@pytest.fixture(scope="module")
def tiny() -> Recipe:
    return load("tiny", check_paths=False)


def changed(recipe: Recipe, **settings: object) -> Recipe:
    """The recipe with other execution settings."""
    execution = recipe.execution.model_copy(update=settings)
    return dataclasses.replace(recipe, execution=execution)


def specs(recipe: Recipe) -> list[Spec]:
    """Parent, architecture and plan of the searched model."""
    found = [spec for spec in assets.specs(recipe) if spec.model == "super"]
    sized = [
        Spec(key=f"super/{name}", stage="puzzle", fn=f"tests.assets.planning.sized:{name}")
        for name in ("parent", "architecture")
    ]
    return [*sized, *found]


def built(store: Store, recipe: Recipe) -> Artifact:
    """The plan, its inputs made first."""
    made = [materialise(store, spec, code_of(spec), EXECUTION) for spec in specs(recipe)]
    return made[-1]


def rows(artifact: Artifact) -> dict[str, dict[str, Any]]:
    table = artifact.table("training_plans").sort_by("position")
    return {row["stage"]: row for row in table.to_pylist()}


def test_bytes_and_operations_by_hand() -> None:
    [stage] = planning.plan("super", [WORK], SIZES, ALONE)
    # Full block: norms 32, attention 16*(2*16 + 2*8), FFN 3*16*24; the other: 16 + 3*16*12.
    count = 2 * 64 * 16 + 16 + (32 + 768 + 1152) + (16 + 576)
    teacher = 2 * 64 * 16 + 16 + 2 * (32 + 768 + 1152)
    held = stage.memory
    assert (held.weights, held.gradients, held.optimizer) == (4 * count, 4 * count, 8 * count)
    assert held.teacher == 4 * teacher  # float32 on a CPU
    # A micro-batch is the step's 16 tokens, not 4 sequences of 8; four copies beside a teacher.
    assert held.logits == 4 * 4 * 16 * 64
    # Attention 4*16 + 4*(16 + 3*16 + 3*8) a token, FFNs 4*16 + 4*(16 + 4*24 or 4*12).
    assert held.activations == 16 * (416 + 512 + 320)
    # 8 tokens: head, projections, 36 attended pairs, FFN; then ten such sequences, three passes.
    head, full, narrow = 2 * 8 * 16 * 64, 12288 + 4 * 16 * 36 + 18432, 9216
    assert stage.flops == 10 * (3 * (head + full + narrow) + head + 2 * full)
    assert (stage.hours, stage.refusal) == (None, None)


def test_settings_place_a_stage() -> None:
    two = dataclasses.replace(ALONE, ranks=4, zero_stage=2, teacher_apart=True)
    [stage] = planning.plan("super", [WORK], SIZES, two)
    assert (stage.memory.gradients, stage.memory.optimizer) == (4608, 2 * 4608)
    assert stage.memory.teacher == 0
    toy = dataclasses.replace(ALONE, machine=Machine("toy", 1e9, 1e9, 0.5))
    [stage] = planning.plan("super", [WORK], SIZES, toy)
    assert stage.hours == pytest.approx(stage.flops / 5e8 / 3600) and stage.refusal is None
    assert Settings.of(dataclasses.asdict(toy)) == toy


def test_scored_tokens_pass_forward_once_more_each() -> None:
    [trained] = planning.plan("super", [dataclasses.replace(WORK, taught=False)], SIZES, ALONE)
    sampled = dataclasses.replace(WORK, taught=False, forward=3.0)
    [stage] = planning.plan("super", [sampled], SIZES, ALONE)
    assert stage.flops == 2 * trained.flops


def test_fused_runs_are_one_wide_layer() -> None:
    chosen = [("full", "full", None), ("noop", "full", 1), ("noop", "ratio_50", 1)]
    layers = [{"attention": a, "ffn": f, "fused_into": into} for a, f, into in chosen]
    found = planning.searched(SHAPE, layers)
    assert [block["ffn"]["intermediate_size"] for block in found] == [24, 36]
    assert planning.widest(SHAPE, found) == found[0]


def test_the_plan_has_the_architectures_sizes(tmp_path: Path, tiny: Recipe) -> None:
    store = Store(tmp_path / "home")
    found = rows(built(store, tiny))
    assert list(found) == ["distilled", "sft", "rloo", "rpo"]
    count = 2 * 64 * 16 + 16 + 1952 + 592
    assert {row["weights_bytes"] for row in found.values()} == {4 * count}
    assert found["distilled"]["teacher_bytes"] > 0 == found["sft"]["teacher_bytes"]
    assert found["sft"]["tokens"] == 2400 * 4 * 85
    parts = [name for name in found["sft"] if name.endswith("_bytes") and name != "total_bytes"]
    assert found["sft"]["total_bytes"] == sum(found["sft"][name] for name in parts)
    with connect(store) as connection:
        query = "SELECT stage, hours FROM training_plans WHERE model = 'super' ORDER BY position"
        assert connection.execute(query).fetchall()[1] == ("sft", None)


def test_timings_are_observed_and_never_content(
    tmp_path: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 1e9

    def measure(config: Any, block: Any, tokens: int, length: int, device: str) -> pace.Pace:
        assert block["attention"]["kind"] == "full"  # the widest block
        return pace.Pace(rate, tokens, length)

    monkeypatch.setattr(pace, "measure", measure)
    first = built(Store(tmp_path / "one"), tiny)
    rate = 2e9
    second = built(Store(tmp_path / "other"), tiny)
    assert first.data_version == second.data_version
    seconds = [each.observations["seconds_here"]["sft"] for each in (first, second)]
    assert seconds[0] == 2 * seconds[1] == rows(first)["sft"]["flops"] / 1e9

    def refuse(*_: Any) -> pace.Pace:
        raise pace.PaceError("no GPU that torch can use is here")

    monkeypatch.setattr(pace, "measure", refuse)
    third = built(Store(tmp_path / "third"), tiny)
    assert third.observations["not_measured"].startswith("no GPU")
    assert third.data_version == first.data_version


def test_placement_makes_a_plan_stale_and_a_learning_rate_does_not(
    tmp_path: Path, tiny: Recipe
) -> None:
    store = Store(tmp_path / "home")
    built(store, tiny)

    def state(recipe: Recipe) -> str:
        return states_of(store, specs(recipe))[-1][1].state

    assert state(tiny) == "fresh"
    for settings in ({"zero_stage": 2}, {"micro_batch": 8}, {"ranks": 2}):
        assert state(changed(tiny, **settings)) == "stale"
    assert state(changed(tiny, threads=1)) == "fresh"
    part = tiny.models["super"].sft[0]
    for update, expected in (({"learning_rate": 1e-5}, "fresh"), ({"epochs": 5}, "stale")):
        sft = [part.model_copy(update=update)]
        model = tiny.models["super"].model_copy(update={"sft": sft})
        other = dataclasses.replace(tiny, models={**tiny.models, "super": model})
        assert state(other) == expected


def test_what_cannot_fit_is_a_warning_with_a_way_out(tmp_path: Path, tiny: Recipe) -> None:
    def checks(memory: float) -> dict[str, Any]:
        hardware = Hardware(name="toy", devices=2, memory_bytes=memory, flops=1e9, mfu=0.5)
        store = Store(tmp_path / f"{memory:.0f}")
        artifact = built(store, changed(tiny, hardware=hardware))
        return {check.name: check for check in artifact.checks}

    few = checks(5e6)
    assert few["plan_complete"].passed
    fits = few["training_fits"]
    assert not fits.passed and not fits.blocking
    assert "super/distilled needs" in fits.description and "It would fit with" in fits.description
    assert checks(1e9)["training_fits"].passed


def test_a_step_is_timed_on_as_many_tokens_as_are_quick() -> None:
    [block] = blocks_of(SHAPE, [("full", "full")])
    whole = pace.operations(SHAPE, block, 4, 64)
    assert pace.scaled(SHAPE, block, 4, 64, whole) == (4, 64)
    assert pace.scaled(SHAPE, block, 4, 64, whole / 2) == (2, 64)
    assert pace.scaled(SHAPE, block, 4, 64, 1.0) == (1, 16)
    config = HeterogeneousDecoderConfig(**CONFIG | {"model_type": "heterogeneous_llama"})
    before = torch.random.get_rng_state()
    found = pace.measure(config, block, 256, 64, "cpu")
    assert (found.tokens, found.length) == (256, 64) and found.flops_per_second > 0
    assert torch.equal(before, torch.random.get_rng_state())  # nothing else's draws depend on it


def test_a_layer_too_large_to_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    [block] = blocks_of(SHAPE, [("full", "full")])
    config = HeterogeneousDecoderConfig(**CONFIG | {"model_type": "heterogeneous_llama"})
    monkeypatch.setattr(pace, "free_bytes", lambda where: 1.0)
    with pytest.raises(pace.PaceError, match="a layer's states take"):
        pace.measure(config, block, 64, 64, "cpu")
