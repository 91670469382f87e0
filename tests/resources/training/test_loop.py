"""The loop on a real DeepSpeed engine: equal to bare torch, resumable to the bit, loud on NaN."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resources.execution import Execution
from resources.recipe.sections.base import Optimizer
from resources.training import checkpoint, objectives
from resources.training.loop.loop import train
from resources.training.loop.optimizer import adamw, rate
from resources.training.loop.trainer import NonFiniteError, Trainer
from tests.resources.training.sections import PLAIN, optimizer

CONFIG = optimizer(
    learning_rate=1e-2,
    schedule="cosine",
    warmup_ratio=0.2,
    min_learning_rate=1e-3,
    weight_decay=0.1,
    gradient_clipping=0.5,
)
STEPS = 10


class Tiny(nn.Module):
    """A language model small enough for a test: tied embedding, one hidden layer, dropout."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(17, 8)
        self.hidden = nn.Linear(8, 8)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8, 17, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(torch.tanh(self.hidden(self.embedding(ids)))))


def model(dropout: float = 0.0) -> Tiny:
    torch.manual_seed(3)
    return Tiny(dropout)


def batch_of(step: int) -> list[dict[str, Any]]:
    """Two micro-batches of different sizes with some ignored tokens."""
    generator = torch.Generator().manual_seed(step)
    batches: list[dict[str, Any]] = []
    for rows in (1, 3):
        ids = torch.randint(0, 17, (rows, 6), generator=generator)
        weights = (torch.rand((rows, 6), generator=generator) > 0.3).float()
        batches.append({"input_ids": ids, "labels": ids.roll(-1, 1), "weights": weights})
    total = sum(float(b["weights"].sum()) for b in batches)
    return [{**b, "total": total} for b in batches]


def objective(module: nn.Module, batch: dict[str, Any]) -> objectives.Loss:
    logits = module(batch["input_ids"])
    return objectives.cross_entropy(logits, batch["labels"], batch["weights"], batch["total"])


def trainer_in(
    folder: Path, net: nn.Module, steps: int = STEPS, dtype: str | None = None, **execution: Any
) -> Trainer:
    return Trainer(net, CONFIG, steps, folder, 5, Execution(threads=1, **execution), dtype)


def test_equals_bare_torch_to_the_bit(tmp_path: Path) -> None:
    trained = model()
    table = train(
        trainer_in(tmp_path, trained), batch_of, objective, stage="test", save_every_seconds=20.0
    )
    bare = model()
    adam = adamw(CONFIG, bare)
    losses = []
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = rate(CONFIG, step, STEPS)
        adam.param_groups[1]["lr"] = rate(CONFIG, step, STEPS)
        parts = [objective(bare, b).loss for b in batch_of(step)]
        for part in parts:
            part.backward()
        torch.nn.utils.clip_grad_norm_(bare.parameters(), CONFIG.gradient_clipping)
        adam.step()
        adam.zero_grad()
        losses.append(sum(p.double().item() for p in parts))
    rows = table.to_pylist()
    assert [r["value"] for r in rows if r["metric"] == "loss"] == pytest.approx(losses, rel=1e-7)
    for mine, theirs in zip(trained.parameters(), bare.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert {r["stage"] for r in rows} == {"test"}
    assert [r["tokens"] for r in rows if r["metric"] == "accuracy"] == [
        24 * s for s in range(1, 11)
    ]


class Killed(Exception):
    pass


@pytest.mark.parametrize("zero_stage", [0, 2])
def test_resume_is_bit_exact(tmp_path: Path, zero_stage: int) -> None:
    """Killed at step 7, checkpoints at 2, 4 and 6; dropout shows that random state resumes."""
    whole = model(dropout=0.2)
    expected = train(
        trainer_in(tmp_path / "a", whole, zero_stage=zero_stage),
        batch_of,
        objective,
        save_every_seconds=20.0,
    )

    first = trainer_in(tmp_path / "b", model(dropout=0.2), zero_stage=zero_stage)

    def kill(step: int, metrics: dict[str, float]) -> None:
        if step in (2, 4, 6):
            first.save()
        if step == 7:
            raise Killed

    with pytest.raises(Killed):
        train(first, batch_of, objective, on_step=kill, save_every_seconds=20.0)
    assert [p.name for p in checkpoint.steps(tmp_path / "b" / "checkpoints")] == [
        "step_00000004",
        "step_00000006",
    ]
    torch.manual_seed(99)
    resumed = model(dropout=0.2)
    second = trainer_in(tmp_path / "b", resumed, zero_stage=zero_stage)
    assert second.step == 6
    table = train(second, batch_of, objective, save_every_seconds=20.0)
    assert table.equals(expected)
    for mine, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_optimizer_reset_is_exact_across_a_resume(tmp_path: Path) -> None:
    def trained(folder: str, network: Tiny, *, reset: bool, killed: bool = False) -> Tiny:
        trainer = trainer_in(tmp_path / folder, network)

        def on_step(step: int, metrics: dict[str, float]) -> None:
            if step == 6 and reset:
                trainer.reset_optimizer()
            if step == 6 and killed:
                trainer.save()
                raise Killed

        train(trainer, batch_of, objective, on_step=on_step, save_every_seconds=20.0)
        return network

    whole = trained("a", model(), reset=True)
    with pytest.raises(Killed):
        trained("b", model(), reset=True, killed=True)
    resumed = trained("b", model(), reset=False)
    plain = trained("c", model(), reset=False)
    assert torch.equal(resumed.hidden.weight, whole.hidden.weight)
    assert not torch.equal(plain.hidden.weight, whole.hidden.weight)


def test_micro_batches_do_not_change_the_gradient(tmp_path: Path) -> None:
    split, joined = model(), model()
    batches = batch_of(0)
    together = {
        name: torch.cat([b[name] for b in batches]) for name in ("input_ids", "labels", "weights")
    }
    a = trainer_in(tmp_path / "a", split).update(batches, objective)
    b = trainer_in(tmp_path / "b", joined).update(
        [{**together, "total": batches[0]["total"]}], objective
    )
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)
    assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-5)


def test_non_finite_loss_and_gradient_stop_before_the_weights_change(tmp_path: Path) -> None:
    net = model()
    trainer = trainer_in(tmp_path, net)
    trainer.update(batch_of(0), objective)
    before = net.hidden.weight.detach().clone()

    def bad_loss(module: nn.Module, batch: dict[str, Any]) -> objectives.Loss:
        loss = objective(module, batch)
        return objectives.Loss(loss.loss * float("nan"))

    def bad_gradient(module: nn.Module, batch: dict[str, Any]) -> objectives.Loss:
        zero = module(batch["input_ids"]).sum() * 0.0
        return objectives.Loss(torch.sqrt(zero))

    with pytest.raises(NonFiniteError, match="the loss is nan at optimizer step 2"):
        trainer.update(batch_of(1), bad_loss)
    with pytest.raises(NonFiniteError, match="the gradient norm is nan at optimizer step 2"):
        trainer.update(batch_of(1), bad_gradient)
    assert torch.equal(net.hidden.weight, before)


def test_bfloat16_autocast_keeps_float32_weights(tmp_path: Path) -> None:
    net = model()
    table = train(
        trainer_in(tmp_path, net, dtype="bfloat16"), batch_of, objective, save_every_seconds=20.0
    )
    losses = [r["value"] for r in table.to_pylist() if r["metric"] == "loss"]
    assert net.hidden.weight.dtype == torch.float32
    assert losses[-1] < losses[0]


def test_checkpoint_errors_name_the_folder(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, model())
    trainer.update(batch_of(0), objective)
    trainer.save({"note": 1})
    assert trainer_in(tmp_path, model()).state == {"note": 1}
    with pytest.raises(checkpoint.ResumeError, match="a run of 10 steps"):
        trainer_in(tmp_path, model(), steps=11)
    with pytest.raises(checkpoint.ResumeError, match="of another model"):
        trainer_in(tmp_path, nn.Linear(2, 2))
    (tmp_path / "checkpoints" / "step_00000001" / "model-00000.safetensors").write_bytes(b"x")
    with pytest.raises(checkpoint.ResumeError, match="step_00000001 cannot be read"):
        trainer_in(tmp_path, model())


def test_a_step_saved_again_has_at_no_time_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_in(tmp_path, model())
    trainer.update(batch_of(0), objective)
    trainer.save({"times": 1})
    root = tmp_path / "checkpoints"
    seen: list[list[str]] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        seen.append([path.name for path in checkpoint.steps(root)])
        found = rename(self, target)
        seen.append([path.name for path in checkpoint.steps(root)])
        return found

    monkeypatch.setattr(Path, "rename", watched)
    for times in (2, 3):
        trainer.save({"times": times})
    assert all(seen)
    names = ["step_00000001_0001", "step_00000001_0002"]
    assert [path.name for path in checkpoint.steps(root)] == names
    assert trainer.saved_step == 1
    resumed = trainer_in(tmp_path, model())
    assert (resumed.step, resumed.state) == (1, {"times": 3})
    resumed.update(batch_of(1), objective)
    resumed.save()
    names = ["step_00000001_0002", "step_00000002"]
    assert [path.name for path in checkpoint.steps(root)] == names


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, model())
    trainer.save()
    folder = checkpoint.steps(trainer.root)[-1]
    file = folder / "model-00000.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    with pytest.raises(checkpoint.ResumeError, match=rf"has {len(whole) - 4} bytes"):
        checkpoint.Saved(folder)
    file.unlink()
    with pytest.raises(checkpoint.ResumeError, match=r"No such file.*model-00000"):
        checkpoint.Saved(folder)
    (folder / "state.json").write_text('{"step": 1}')
    with pytest.raises(checkpoint.ResumeError, match="another version wrote it"):
        checkpoint.Saved(folder)


def test_micro_batches_that_say_different_things(tmp_path: Path) -> None:
    """A metric that only some micro-batches have is summed over those."""

    def odd(module: nn.Module, batch: dict[str, Any]) -> objectives.Loss:
        loss = objective(module, batch)
        more = {"rows": torch.tensor(3.0)} if len(batch["input_ids"]) == 3 else {}
        return objectives.Loss(loss.loss, {**loss.metrics, **more})

    trainer = trainer_in(tmp_path, model())
    assert trainer.update(batch_of(0), odd)["rows"] == 3.0
    with pytest.raises(ValueError, match="step 2 has no micro-batches"):
        trainer.update([], odd)


def test_schedule() -> None:
    config = optimizer(1.0, schedule="cosine", warmup_ratio=0.1, min_learning_rate=0.1)
    rates = [rate(config, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    assert rate(optimizer(2.0), 50, 100) == 2.0


def test_a_section_is_read_within_an_assets_recipe() -> None:
    slice_ = {**PLAIN, "learning_rate": 1e-4, "betas": [0.8, 0.9], "tokens": 5, "seed": "7"}
    assert Optimizer.within(slice_) == optimizer(1e-4, betas=[0.8, 0.9])
    with pytest.raises(ValueError, match="missing key 'learning_rate'"):
        Optimizer.within({"tokens": 5})
    with pytest.raises(ValueError, match="schedule"):
        Optimizer.within(slice_ | {"schedule": "linear"})
