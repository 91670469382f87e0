"""Divergence: the guard by hand, and runs that really explode, stop, and go on afresh."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from resources.execution import Execution
from resources.recipe.sections.base import Divergence
from resources.training.loop import interventions
from resources.training.loop.guard import Diverged, Guard
from resources.training.loop.loop import train
from resources.training.loop.measuring import events_table
from resources.training.loop.trainer import Trainer
from resources.training.objectives import Loss
from tests.resources.training.sections import optimizer

STEPS = 60
GUARD = Divergence(gradient_norm=50.0, loss=3.0, window=8, patience=2, settle=4)


def test_the_guard_by_hand() -> None:
    guard = Guard(Divergence(gradient_norm=10.0, loss=1.0, window=4, patience=2, settle=2))
    assert [guard.judge(2.0, norm) for norm in (1.0, 1.0, 1.2)] == [None] * 3
    # Median of the norms is 1: 10 is calm, 10.1 suspicious once, a divergence twice.
    assert guard.judge(2.0, 10.0) is None and guard.calm
    assert guard.judge(2.0, 11.1) is None and not guard.calm
    assert guard.judge(2.0, 1.0) is None and guard.calm
    assert guard.judge(3.1, 1.0) is None
    assert guard.judge(3.2, 1.0) == ("the loss", 3.2, 3.0)


def test_not_a_number_is_a_divergence_at_once() -> None:
    guard = Guard(Divergence())
    found = guard.judge(math.nan, 1.0)
    assert found is not None and found[0] == "the loss"
    history = [{"loss": 1.0, "gradient_norm": 1.0}] * 20
    assert Guard.after(Divergence(), history).judge(1.0, math.inf) is not None


class Cliff(torch.nn.Module):
    """One weight on a valley floor with a cliff: stale moments carry it over, fresh ones do not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, 2))

    def forward(self, target: torch.Tensor) -> torch.Tensor:
        return (self.weight - target).square().sum()


def batch_of(step: int) -> list[dict[str, Any]]:
    return [{"input_ids": torch.zeros(1, 1), "target": torch.tensor(0.1), "step": step}]


def exploding(trainer: Trainer) -> Any:
    """Calm for 31 steps; from there on the loss grows with the second moments' age."""

    def objective(module: torch.nn.Module, batch: dict[str, Any]) -> Loss:
        loss = module(batch["target"])
        age = max((int(s["step"]) for s in trainer.optimizer.state.values()), default=0)
        return Loss(loss * (1e4 if age >= 31 else 1.0))

    return objective


def trainer_in(folder: Path) -> Trainer:
    torch.manual_seed(0)
    return Trainer(Cliff(), optimizer(1e-2), STEPS, folder, 1, Execution(threads=1))


def run(trainer: Trainer, guard: Divergence = GUARD) -> Any:
    return train(trainer, batch_of, exploding(trainer), guard=guard, save_every_seconds=0.0)


def test_a_run_that_explodes_stops_at_its_last_good_checkpoint(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    with pytest.raises(Diverged, match="diverged at optimizer step 33: the gradient norm") as stop:
        run(trainer)
    # Steps 32 and 33 exploded: step 32 on the weights after 31, so those after 30 are good.
    assert stop.value.good == trainer.saved_step == 30
    record = interventions.stopped(tmp_path)
    assert record is not None and (record["step"], record["good_step"]) == (33, 30)
    # Nobody answered: it does not train into the same wall again.
    with pytest.raises(Diverged, match="step 33"):
        run(trainer_in(tmp_path))


def test_an_answered_stop_goes_on_with_fresh_moments_and_converges(tmp_path: Path) -> None:
    with pytest.raises(Diverged):
        run(trainer_in(tmp_path))
    interventions.answer(tmp_path, by="operator", reason="as in the paper")
    trainer = trainer_in(tmp_path)
    table = run(trainer)
    losses = [row["value"] for row in table.to_pylist() if row["metric"] == "loss"]
    assert len(losses) == STEPS and losses[-1] < losses[0] / 10
    events = events_table(trainer.state["events"], "sft").to_pylist()
    assert [(event["step"], event["event"]) for event in events] == [
        (33, "diverged"),
        (30, "optimizer reinitialised"),
    ]
    assert "by: operator, reason: as in the paper" in events[1]["detail"]
    # An answer counts once: a resumed run does not act on it again.
    again = trainer_in(tmp_path)
    assert run(again).equals(table) and len(again.state["events"]) == 2


def test_the_recipe_may_send_it_back_itself(tmp_path: Path) -> None:
    guard = GUARD.model_copy(update={"action": "reinitialize_optimizer"})
    trainer = trainer_in(tmp_path)
    run(trainer, guard)
    assert [event["event"] for event in trainer.state["events"]] == [
        "diverged",
        "optimizer reinitialised",
    ]
    assert trainer.step == STEPS


def test_it_is_sent_back_only_so_often(tmp_path: Path) -> None:
    guard = GUARD.model_copy(update={"action": "reinitialize_optimizer"})
    trainer = trainer_in(tmp_path)

    def hopeless(module: torch.nn.Module, batch: dict[str, Any]) -> Loss:
        return Loss(module(batch["target"]) * (float("nan") if batch["step"] >= 20 else 1.0))

    with pytest.raises(Diverged, match="step 21: the loss is nan"):
        train(trainer, batch_of, hopeless, guard=guard, save_every_seconds=0.0)
    record = interventions.stopped(tmp_path)
    assert record is not None and record["number"] == 2


def test_the_only_checkpoint_is_kept_however_bad(tmp_path: Path) -> None:
    """A run that explodes before it saved goes back to its start."""
    trainer = trainer_in(tmp_path)
    with pytest.raises(Diverged) as stop:
        train(trainer, batch_of, exploding(trainer), guard=GUARD, save_every_seconds=20.0)
    assert stop.value.good == trainer.saved_step == 0


def test_without_a_stop_there_is_nothing_to_answer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no stopped run waits"):
        interventions.answer(tmp_path, by="operator", reason="-")
