"""Cost profiles: the paired method, a profile through the store, its file, predicted totals.

A clock that counts sub-blocks stands in for the real one wherever a figure is asserted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from assets.puzzle.costs import bench, predicted, profile, report, timing
from assets.puzzle.costs.bench import Bench, Setting
from assets.puzzle.costs.closed_form import block_costs
from assets.puzzle.costs.measuring import measure
from assets.puzzle.costs.profile import measure_profile, read_profile, rest, seconds, tables
from assets.puzzle.costs.profile_file import Profile, ProfileError
from assets.puzzle.costs.timing import TimingError, marginal, paired, settled
from jobs import cli
from jobs.commands.profile import attention_variants
from resources import machine
from resources.execution import Execution
from resources.models import blocks as parts
from resources.models.accounting import Shape, blocks_of
from resources.models.loading import save
from tests.assets.puzzle import tiny
from warehouse.store import Artifact, Output, Request, Store

ATTENTION, FFN, BATCHES = ["full", "kv_1", "linear", "noop"], ["full", "ratio_50", "noop"], [1, 4]
CHOICE = [("full", "ratio_50"), ("kv_1", "full"), ("noop", "full"), ("full", "noop")]
SETTING = Setting("cpu", "float32", prefill=6, decode=3, blocks=2, repeats=2, threads=1)
RECIPE = {
    "attention": ATTENTION,
    "ffn": FFN,
    "batches": BATCHES,
    "prefill": 6,
    "decode": 3,
    "blocks": 2,
    "repeats": 2,
    "dtype_bytes": 4,
}
# Seconds that the counting clock gives for one pass through a module, and for anything else.
TICKS = {
    parts.HeterogeneousDecoderAttention: 2.0,
    parts.HeterogeneousDecoderLinearAttention: 0.5,
    parts.HeterogeneousDecoderMLP: 1.0,
}
REST = 16.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Time is what TICKS says of the modules that ran, times the tokens of a sequence."""
    passed = 0.0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal passed
        if type(module) in TICKS:
            passed += TICKS[type(module)] * inputs[0].shape[1]

    def seconds_of(run: timing.Run, device: torch.device, times: int) -> float:
        nonlocal passed
        passed = REST
        run()
        return passed

    monkeypatch.setattr(timing, "_seconds", seconds_of)
    handle = nn.modules.module.register_module_forward_hook(count)
    yield
    handle.remove()


def parent_config() -> Any:
    return tiny.parent(4, dtype=torch.float32).config


def build_model(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    blocks = blocks_of(Shape.of(parent_config().to_dict()), CHOICE) if recipe["chosen"] else None
    save(tiny.parent(4, blocks=blocks, dtype=torch.float32), workdir / "model", tiny.TOKENIZER)
    return Output(files={"": workdir / "model"})


def build(store: Store, name: str, fn: Any, recipe: dict[str, Any], **execution: Any) -> Artifact:
    needed = ("parent", "assembled", "block_costs", "cost_profile")
    inputs = {key: store.current(f"super/{key}") for key in needed}
    there = {key: found for key, found in inputs.items() if found is not None}
    settings = Execution(threads=1, **execution)
    return store.build(
        Request(f"super/{name}", None, fn, there, recipe, 0, "1", model="super"),
        execution=settings,
    )


@pytest.fixture
def store(tmp_path: Path, clock: None) -> Store:
    """A home with a parent, an assembled model, its costs and a profile by the counting clock."""
    home = Store(tmp_path / "home")
    build(home, "parent", build_model, {"chosen": False})
    build(home, "assembled", build_model, {"chosen": True})
    build(home, "block_costs", block_costs, RECIPE | {"batch": 2, "context": 7})
    build(home, "cost_profile", measure_profile, RECIPE)
    return home


def test_slope_and_intercept() -> None:
    assert paired((14, 6), (22, 10), 4) == ((2, 1), (6, 2))
    found = marginal([14, 14, 13, 15], [22, 22, 21, 23], 4)
    assert (found.seconds, found.overhead, found.noise) == (2, 5, 0)  # the least: 13 and 21


def test_a_negative_time_is_measured_again_then_refused_or_told_from_nothing() -> None:
    asked: list[int] = []

    def sample(short: list[float], long: list[float]) -> Any:
        def give(repeats: int) -> list[list[float]]:
            asked.append(repeats)
            return [(row * repeats)[:repeats] for row in (short, short, long, long)]

        return give

    with pytest.raises(TimingError, match="8 blocks took 8 s, less than 4 blocks with 9 s"):
        settled(sample([9.0], [8.0]), 2, 4)
    assert asked == [2, 8, 32, 128]
    # One part in a hundred thousand less, in samples that scatter by more: nothing.
    found, _ = settled(sample([10, 10.0001], [10.0002, 9.9997]), 2, 4)
    assert found.clamped and found.seconds == 0 and found.overhead > 9.9
    # As little less, but samples that scatter by a tenth cannot tell a time from nothing.
    with pytest.raises(TimingError, match="noise"):
        settled(sample([5, 15.0001], [15, 4.9999]), 2, 4)


def test_a_profile_has_the_seconds_of_pairs_and_rest(store: Store) -> None:
    artifact = store.current("super/cost_profile")
    assert artifact is not None
    times = seconds(artifact)
    assert set(times) == {(attention, ffn) for attention in ATTENTION for ffn in FFN}
    # A prefill runs 6 tokens, a decode step 1; a pair is the sum of its halves.
    assert times["full", "full"] == dict.fromkeys(BATCHES, (6 * 3.0, 3.0))
    assert times["linear", "ratio_50"][4] == (6 * 1.5, 1.5)
    assert times["noop", "noop"][1] == (0, 0)
    assert rest(artifact) == dict.fromkeys(BATCHES, (REST, REST))
    assert artifact.metrics["parent_decode_seconds_batch_4"] == REST + 4 * 3
    rows = artifact.table("block_costs").to_pylist()
    assert len(rows) == 4 * len(times) * len(BATCHES)
    closed = [r for r in rows if (r["attention"], r["ffn"], r["batch"]) == ("kv_1", "noop", 4)]
    keys = 2 * 1 * 4 * 4
    assert closed[3]["layer"] == 3 and closed[3]["kv_bytes_per_token"] == keys
    assert closed[3]["memory_bytes"] == closed[3]["weight_bytes"] + 4 * 9 * keys
    here = machine.hardware("cpu")
    assert (closed[0]["hardware"], closed[0]["dtype"]) == (here, "float32")
    [row] = artifact.table("profile_machine").to_pylist()
    assert (row["hardware"], row["threads"], row["engine"]) == (here, 1, "transformers")


def test_no_seconds_in_plain_costs(store: Store) -> None:
    costs = store.current("super/block_costs")
    assert costs is not None
    with pytest.raises(ProfileError, match=r"no measured seconds.*costs\.profile"):
        seconds(costs)


def test_predicted_is_measured_where_time_is_a_sum(store: Store) -> None:
    artifact = build(store, "cost_comparison", report.compare_costs, RECIPE)
    rows = {
        (row["quantity"], row["batch"]): row
        for row in artifact.table("predicted_costs").to_pylist()
    }
    activation = rows.pop(("activation_bytes", None))
    assert activation["measured"] is None and activation["predicted"] > 0
    assert "GPU" in artifact.manifest["observations"]["not_measured"]["activation_bytes"]
    assert {row["ratio"] for row in rows.values()} == {1.0}
    assert rows["decode_seconds", 4]["predicted"] == REST + 3 + 3 + 1 + 2
    assert rows["kv_bytes_per_token", None]["measured"] == 4 * 2 * 4 * (2 + 1 + 0 + 2)
    assert artifact.metrics["parameters_ratio"] == 1.0


def test_seconds_of_another_machine_are_not_compared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "hardware", lambda device: "another processor")
    artifact = build(store, "cost_comparison", report.compare_costs, RECIPE)
    reason = artifact.manifest["observations"]["not_measured"]["seconds"]
    assert reason.startswith("the profile is of ") and "another processor" in reason
    rows = artifact.table("predicted_costs").to_pylist()
    times = [row for row in rows if row["unit"] == "s"]
    assert len(times) == 4 and all(row["measured"] is row["ratio"] is None for row in times)


def test_a_layer_that_the_search_fused_costs_what_its_width_does(store: Store) -> None:
    shape, costs = Shape.of(parent_config().to_dict()), store.current("super/block_costs")
    assert costs is not None
    rows = costs.table("block_costs").to_pylist()
    blocks = blocks_of(shape, [("full", "full"), ("noop", "ratio_200")])
    found = predicted.chosen_rows(blocks, rows, shape)
    assert (found[1]["layer"], found[1]["attention"], found[1]["ffn"]) == (1, "noop", "ratio_200")
    # A norm of 16 and three matrices of 16 x 48, nothing kept for attention.
    assert found[1]["parameters"] == 16 + 3 * 16 * 48
    assert found[1]["kv_bytes_per_token"] == 0
    other = blocks_of(shape, [("full", "ratio_200")])
    with pytest.raises(predicted.PredictionError, match=r"layer 0, .*48.* before fusion"):
        predicted.chosen_rows(other, rows, shape)


def test_a_file_gives_the_same_profile(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    measure(parent_config(), ATTENTION, FFN, BATCHES, SETTING).write(path)
    read = build(store, "cost_profile", read_profile, RECIPE, source=str(path))
    measured = store.current("super/cost_profile")
    assert measured is not None
    for name in ("block_costs", "non_block_seconds", "sub_block_seconds", "profile_machine"):
        assert read.table(name).equals(measured.table(name))
    assert list(tmp_path.glob(".profile.json*")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": {"hidden_size": 32}}, "hidden_size is 32, should be 16"),
        ({"shape": {"intermediate_size": 96}}, "intermediate_size is 96, should be 24"),
        ({"machine": {"dtype": "bfloat16"}}, "dtype is bfloat16, should be float32"),
        ({"prefill_length": 128}, "prefill_length is 128, should be 6"),
        ({"sub_blocks": []}, "attention 'kv_1' at batch 4 is missing"),
        ({"non_block": []}, "besides the blocks at batch 1 are missing"),
    ],
)
def test_a_file_of_something_else_is_refused(
    store: Store, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "profile.json"
    measure(parent_config(), ATTENTION, FFN, BATCHES, SETTING).write(path)
    values = json.loads(path.read_text())
    for name, value in change.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(values))
    with pytest.raises(ProfileError, match=message) as caught:
        build(store, "cost_profile", read_profile, RECIPE, source=str(path))
    assert "profile.json does not fit super/parent" in str(caught.value)


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    with pytest.raises(ProfileError, match=r"no cost profile at .*heirloom profile"):
        Profile.read(path)
    path.write_text('{"format": 2}')
    with pytest.raises(ProfileError, match=r"profile\.json: format: .* format 1 is needed"):
        Profile.read(path)
    path.write_text("{")
    with pytest.raises(ProfileError, match=r"profile\.json: the document: "):
        Profile.read(path)


def test_what_cannot_be_timed_says_why(store: Store) -> None:
    config = parent_config()
    with pytest.raises(TimingError, match="beyond the model's context of 2048"):
        Bench(config, Setting("cpu", "float32", prefill=2000, decode=100))
    with pytest.raises(TimingError, match=r"attention 'full' for 10.* GiB.*smaller batches"):
        Bench(config, SETTING).sub_block("attention", "full", 10**9)
    with pytest.raises(ProfileError, match="3 key-value heads do not divide"):
        measure(config, ["full", "kv_3"], FFN, BATCHES, SETTING)
    with pytest.raises(ProfileError, match="3 bytes a value cannot be timed: take dtype_bytes 1,"):
        build(store, "cost_profile", measure_profile, RECIPE | {"dtype_bytes": 3})


def test_one_byte_numbers_are_timed_in_bfloat16_and_say_so(store: Store) -> None:
    made = build(store, "cost_profile", measure_profile, RECIPE | {"dtype_bytes": 1})
    assert made.observations["timed_as"] == "bfloat16, for float8"
    rows = made.table("block_costs").to_pylist()
    assert {row["dtype"] for row in rows} == {"bfloat16"}
    for row in rows:  # sizes are those of one byte
        assert row["weight_bytes"] == row["parameters"]


def test_the_real_clock_takes_every_kind_of_block(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever a busy machine makes of times this small, they are taken.
    monkeypatch.setattr(bench, "settled", lambda sample, *_: sample(1))
    here = Bench(parent_config(), SETTING)
    for kind, name in (("attention", "kv_1"), ("attention", "linear"), ("ffn", "linear")):
        assert all(min(taken) > 0 for taken in here.sub_block(kind, name, 2))
    assert min(here.non_block(2)) > 0


def test_the_command_writes_a_file_that_the_search_reads(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = store.current("super/parent")
    assert parent is not None
    alone, output = tmp_path / "alone", tmp_path / "profile.json"
    alone.mkdir()
    (alone / "config.json").write_bytes((parent.path() / "config.json").read_bytes())
    options = "--batches 1 4 --prefill 6 --decode 3 --blocks 2 --repeats 2 --threads 1"
    arguments = ["profile", str(alone), "--output", str(output), *options.split()]
    assert cli.main([*arguments, "--dtype", "float32", "--device", "cpu"]) == 0
    assert "sub-blocks timed on " in capsys.readouterr().out
    found = Profile.read(output)
    shape = Shape.of(parent_config().to_dict())
    assert profile.differences(found, shape, RECIPE) == []
    made = tables(found, "super", shape, 4, RECIPE)
    assert seconds(made)["full", "full"][4] == (18.0, 3.0)


def test_wrong_options_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["profile", str(tmp_path), "--output"]
    assert cli.main([*here, str(tmp_path / "p.json"), "--batches", "0"]) == 2
    assert cli.main([*here, str(tmp_path / "none" / "p.json")]) == 1
    assert "name a file in a folder that exists" in capsys.readouterr().err


def test_the_commands_attention_variants() -> None:
    assert attention_variants(8) == ["full", "kv_4", "kv_2", "kv_1", "linear", "noop"]
    assert attention_variants(3) == ["full", "linear", "noop"]
