"""Telemetry by hand: operations, rates, the time left, peaks; trackers with their real packages."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resources.execution import Execution
from resources.machine import PeakMemory
from resources.models import accounting
from resources.models.accounting import Shape
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.training import trackers
from resources.training.data.examples import Batches, Examples, plan_steps, singles
from resources.training.telemetry import (
    Telemetry,
    duration,
    forward_operations,
    matrix_rate,
    operations_of,
    peak_rate,
)


def model(**changes: Any) -> HeterogeneousDecoderForCausalLM:
    sizes = {
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    return HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**{**sizes, **changes}))


def telemetry(**settings: Any) -> Telemetry:
    return Telemetry(10, clock=[], tokens=[], memory=PeakMemory("cpu"), **settings)


def test_operations_are_those_of_accounting() -> None:
    made = model(block_configs=[{"attention": {"kind": "noop"}}, {}])
    shape, blocks = Shape.of(made.config.to_dict()), made.config.block_configs
    lengths = np.array([1, 2, 7, 100])
    wanted = [accounting.forward_flops(shape, blocks, int(length)) for length in lengths]
    assert forward_operations(made, lengths).tolist() == wanted
    with pytest.raises(ValueError, match="Linear has no block_configs"):
        forward_operations(torch.nn.Linear(1, 1), lengths)


def test_a_steps_operations_are_those_of_its_documents() -> None:
    student, teacher = model(), model(num_hidden_layers=4)
    examples = Examples.from_lists([([1] * n, [True] * n) for n in (4, 9, 2, 5, 7)])
    units = singles(examples)
    plan = plan_steps(examples.lengths, 10, seed=1, epochs=2)
    batches = Batches(examples, units, plan, 100)
    found = operations_of(student, batches, [teacher])
    each = 3 * forward_operations(student, examples.lengths)
    each = each + forward_operations(teacher, examples.lengths)
    assert len(found) == len(plan)
    assert found[0] == each[plan[0]].sum() and sum(found) == pytest.approx(2 * each.sum())
    assert operations_of(torch.nn.Linear(1, 1), batches) == []


def test_rates_and_time_left_by_hand() -> None:
    run = telemetry(operations=[100.0, 300.0] + [0.0] * 8, peak=50.0, devices=2)
    assert run.step(1, {"loss": 2.0}, 2.0, 1000) == "step 1/10, loss 2.000, 500 tokens/s, 18 s left"
    assert run.step(2, {"loss": 1.5}, 6.0, 3000).endswith("loss 1.500, 500 tokens/s, 24 s left")
    assert run.speeds() == [500.0, 500.0]
    summary = run.summary()
    # 100 operations in 2 s and 300 in 4 s, of 100 that two devices do in one.
    assert summary["median_mfu"] == pytest.approx((0.5 + 0.75) / 2)
    assert summary["median_tokens_per_second"] == 500.0
    assert summary["peak_flops"] == 100.0
    assert run.step(3, {"loss": 1.0}, 7.0, 3100).endswith("100 tokens/s, 16 s left")


def test_a_run_that_went_back_forgets_what_did_not_happen() -> None:
    run = telemetry()
    for step, seconds in ((1, 1.0), (2, 2.0), (3, 9.0)):
        run.step(step, {"loss": 1.0}, seconds, 10 * step)
    run.step(2, {"loss": 1.0}, 3.0, 20)
    assert (run.clock, run.tokens) == ([1.0, 3.0], [10, 20])
    assert "mfu" not in run.summary() and "median_mfu" not in run.summary()
    resumed = Telemetry.of(
        {"clock": run.clock, "tokens": run.tokens}, 10, Execution(flops=1.0), "float32"
    )
    assert resumed.speeds() == run.speeds() == [10.0, 5.0]
    assert resumed.clock is not run.clock


def test_the_peak_is_given_or_measured_without_touching_random_numbers() -> None:
    assert peak_rate(Execution(flops=3e12), "float32") == 3e12
    state = torch.get_rng_state()
    rate = matrix_rate("cpu", "float32", torch.get_num_threads())
    assert rate > 1e8 and rate == peak_rate(Execution(), "float32")
    assert torch.equal(state, torch.get_rng_state())


def test_peak_memory_sees_what_is_gone_again() -> None:
    memory = PeakMemory("cpu")
    before = memory.bytes()
    block = torch.ones(32 << 20)
    del block
    assert memory.bytes() - before > 100 << 20


def test_lengths_of_time() -> None:
    given = (0.4, 89.6, 150, 3599, 3600, 172000, 400000)
    assert [duration(seconds) for seconds in given] == [
        "0 s",
        "90 s",
        "2 min",
        "1 h 0 min",
        "1 h 0 min",
        "47 h 47 min",
        "4 d 15 h",
    ]


def test_trackers_that_cannot_be_used_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(trackers.TrackerError, match="no tracker 'tensorbord'; there are tensorb"):
        trackers.check(["tensorbord"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(trackers.TrackerError, match=r"pip install 'heirloom\[trackers\]'"):
        trackers.check(["wandb"])
    assert trackers.open_all([], Path(), "x/y", "run", 0) == []


def records(folder: Path) -> list[bytes]:
    """The records of a folder's event files: a length, its checksum, the record, its checksum."""
    found = []
    for file in sorted(folder.iterdir()):
        data, place = file.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            found.append(data[place + 12 : place + 12 + size])
            place += 16 + size
    return found


def test_tensorboard_files_lie_beside_the_asset(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tracker,) = trackers.open_all(["tensorboard"], tmp_path, "super/distilled", "abc", 0)
    run = telemetry(trackers=[tracker])
    run.step(1, {"loss": 2.0, "gradient_norm": 1.0, "learning_rate": 0.1}, 1.0, 100)
    run.measured(1, {"held_out_kl_forward": 0.5})
    run.close()
    written = b"".join(records(tmp_path / "tensorboard" / "super" / "distilled" / "abc"))
    for name in ("loss", "gradient_norm", "learning_rate", "tokens_per_second", "held_out_kl"):
        assert name.encode() in written


def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tracker,) = trackers.open_all(["wandb"], tmp_path, "super/distilled", "abc", 0)
    tracker.log(1, {"loss": 2.0})
    tracker.close()
    assert list((tmp_path / "wandb").glob("offline-run-*-abc/run-abc.wandb"))


def test_mlflow_goes_on_with_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    for step in (1, 2):
        (tracker,) = trackers.open_all(["mlflow"], tmp_path, "super/distilled", "abc", step - 1)
        tracker.log(step, {"loss": 3.0 - step})
        tracker.close()
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("heirloom").experiment_id
    (run,) = client.search_runs([experiment])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(1, 2.0), (2, 1.0)]
