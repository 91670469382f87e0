"""ZeRO 0 to 3 on one and on two ranks: the same training, the same checkpoints, exact resumes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from resources.execution import Execution
from resources.training import checkpoint
from resources.training.loop.trainer import Trainer
from resources.training.ranks import launch, sharded
from resources.training.ranks.runtime import bring_up
from tests.resources.training.rank_targets import (
    CONFIG,
    STEPS,
    batch_of,
    llama,
    objective,
    several,
    spread_small_parameters,
)

pytestmark = pytest.mark.slow
HALF = 3
STAGES = (0, 1, 2, 3)
TARGET = "tests.resources.training.rank_targets:several"


def scenarios(stage: int) -> list[dict[str, Any]]:
    """What each stage goes through; names say which run is to equal which."""
    execution = {"zero_stage": stage}
    runs: list[dict[str, Any]] = [
        {"folder": f"whole_{stage}"},
        {"folder": f"half_{stage}", "until": HALF, "save_at": [HALF]},
        {"folder": f"half_{stage}"},
        {"folder": f"reset_{stage}", "reset_at": [HALF]},
        {"folder": f"chunked_{stage}", "chunked": True},
        # Rewinding at step 5 goes back to the checkpoint at 3 with fresh moments.
        {"folder": f"rewound_{stage}", "save_at": [HALF], "rewind_at": [5]},
    ]
    if stage:
        runs.append(
            {
                "folder": f"offloaded_{stage}",
                "execution": {**execution, "offload_optimizer": True},
                "until": HALF,
                "save_at": [HALF],
            }
        )
        runs.append({**runs[-1], "until": STEPS, "save_at": []})
    return [{"execution": execution, **run} for run in runs]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, dict[str, Any]]]:
    """ranks -> run -> what it gave; a run that goes on from another one is `<name>+`."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [run for stage in STAGES for run in scenarios(stage)]
    found = {}
    for ranks in (1, 2):
        place = folder / f"{ranks}"
        results = (
            several(str(place), copy.deepcopy(runs), Execution())
            if ranks == 1
            else launch.run(
                TARGET, {"folder": str(place), "runs": runs}, Execution(ranks=2, threads=2), place
            )
        )
        named: dict[str, dict[str, Any]] = {"folder": {"path": str(place)}}
        for run, result in zip(runs, results, strict=True):
            named[run["folder"] + "+" * (run["folder"] in named)] = result
        found[ranks] = named
    return found


def close(a: dict[str, Any], b: dict[str, Any], tolerance: float = 1e-6) -> bool:
    """Losses, gradient norms (relative) and weights (absolute) agree."""
    ours, theirs = torch.tensor(a["losses"]), torch.tensor(b["losses"])
    steps = min(len(ours), len(theirs))
    difference = (ours[-steps:] / theirs[-steps:] - 1).abs().max()
    weights = (torch.tensor(a["weights"]) - torch.tensor(b["weights"])).abs().max()
    return float(difference) < tolerance and float(weights) < tolerance


def test_counting_devices_starts_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    # `numactl` behind a folder that this user may not read is a PermissionError at every step.
    def started(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied", "numactl")

    bring_up("cpu")
    from deepspeed.accelerator import get_accelerator

    monkeypatch.setattr("subprocess.check_output", started)
    assert get_accelerator().device_count() == 1


@pytest.mark.parametrize("stage", STAGES)
def test_stages_and_ranks_agree(made: dict[int, Any], stage: int) -> None:
    """Three micro-batches on two ranks: one rank computes a fourth that counts for nothing."""
    alone = made[1]["whole_0"]
    assert [made[ranks]["whole_0"]["ranks"] for ranks in (1, 2)] == [1, 2]
    for ranks in (1, 2):
        run = made[ranks][f"whole_{stage}"]
        assert close(run, alone)
        assert run["held_out"] == pytest.approx(alone["held_out"], rel=1e-6)
        # Ranks hold tokens of unequal numbers, and so unequal numbers of chunks.
        chunked = made[ranks][f"chunked_{stage}"]
        assert close(chunked, alone)
        assert chunked["held_out"] == pytest.approx(alone["held_out"], rel=1e-6)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_resume_is_bit_exact(made: dict[int, Any], stage: int, ranks: int) -> None:
    whole, first, second = (
        made[ranks][f"{name}_{stage}{more}"]
        for name, more in (("whole", ""), ("half", ""), ("half", "+"))
    )
    assert (second["started"], second["state"]) == (HALF, {"at": HALF})
    assert first["losses"] + second["losses"] == whole["losses"]
    assert second["weights"] == whole["weights"]
    if stage:
        offloaded, more = (made[ranks][f"offloaded_{stage}{plus}"] for plus in ("", "+"))
        losses = offloaded["losses"] + more["losses"]
        assert len(losses) == STEPS and close({**more, "losses": losses}, whole)


@pytest.mark.parametrize("stage", STAGES)
def test_fresh_moments_at_every_stage(made: dict[int, Any], stage: int) -> None:
    reference = made[1]["reset_0"]
    assert reference["losses"][:4] == made[1]["whole_0"]["losses"][:4]
    assert reference["losses"][4:] != made[1]["whole_0"]["losses"][4:]
    for ranks in (1, 2):
        whole, reset, rewound = (
            made[ranks][f"{name}_{stage}"] for name in ("whole", "reset", "rewound")
        )
        # AdamW's first update is the gradient's sign: it magnifies rounding in a gradient near 0.
        assert close(reset, reference, 1e-4)
        # Five steps, then the last three again with fresh moments: as if reset after step 3.
        assert rewound["losses"] == whole["losses"][:5] + reset["losses"][HALF:]
        assert rewound["weights"] == reset["weights"]


@pytest.mark.parametrize("before, after", [(2, 1), (1, 2)])
def test_another_number_of_ranks_goes_on(
    made: dict[int, Any], before: int, after: int, tmp_path: Path
) -> None:
    """And another stage: what stage 3 saved goes on at stage 1, and so on round."""
    from_folder = Path(made[before]["folder"]["path"])
    runs = []
    for stage in STAGES:
        for other in {stage, (stage + 2) % 4}:
            name = f"{stage}_{other}"
            (tmp_path / name).symlink_to(from_folder / f"half_{stage}")
            runs.append({"folder": name, "execution": {"zero_stage": other}})
    results = (
        several(str(tmp_path), runs, Execution())
        if after == 1
        else launch.run(
            TARGET, {"folder": str(tmp_path), "runs": runs}, Execution(ranks=2, threads=2), tmp_path
        )
    )
    for result in results:
        assert (result["started"], result["ranks"]) == (HALF, after)
        assert close(result, made[1]["whole_0"])


def test_checkpoints_do_not_depend_on_stage_or_ranks(made: dict[int, Any]) -> None:
    saved = {}
    for ranks in (1, 2):
        for stage in STAGES:
            folder = Path(made[ranks]["folder"]["path"]) / f"half_{stage}" / "checkpoints"
            saved[ranks, stage] = checkpoint.Saved(checkpoint.steps(folder)[-1])
    one = saved[1, 0]
    assert len(one.names("optimizer")) == 3 * len(one.names("model")) > 0
    for other in saved.values():
        for group in ("model", "optimizer"):
            assert other.names(group) == one.names(group)
            for name in one.names(group):
                ours, theirs = one.tensor(group, name), other.tensor(group, name)
                torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
    assert saved[2, 3].names("random") == ["cpu.0", "cpu.1"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_trainer_leaves_a_plain_model(tmp_path: Path, stage: int) -> None:
    """After `close` nothing of DeepSpeed is left in it: it runs, is saved, and trains again."""
    spread_small_parameters()
    model = llama(tie_word_embeddings=True)
    names = list(model.state_dict())
    trainer = Trainer(model, CONFIG, STEPS, tmp_path, 5, Execution(threads=1, zero_stage=stage))
    trainer.update(batch_of(0), objective)
    through_engine = trainer.evaluate(batch_of(1), objective)["loss"]
    trainer.close()
    assert list(model.state_dict()) == names and not model.training
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not any(hasattr(p, "ds_id") for p in model.parameters())
    plain = sum(objective(model, batch).loss.item() for batch in batch_of(1))
    assert plain == pytest.approx(through_engine, rel=1e-6)
    copy.deepcopy(model)
    again = Trainer(model, CONFIG, STEPS, tmp_path / "b", 5, Execution(threads=1, zero_stage=stage))
    assert again.evaluate(batch_of(1), objective)["loss"] == through_engine
    again.close()


def test_shards_hold_a_bounded_number_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 2000)
    model = llama()
    trainer = Trainer(model, CONFIG, STEPS, tmp_path, 5, Execution(threads=1, zero_stage=2))
    trainer.update(batch_of(0), objective)
    trainer.save()
    folder = checkpoint.steps(trainer.root)[-1]
    files = sorted(folder.glob("model-*.safetensors"))
    # 37 x 15 numbers of 4 bytes fit in no shard of 2000 and stand alone, twice.
    alone = []
    for path in files:
        with safe_open(path, framework="pt") as shard:
            sizes = [shard.get_tensor(name).nbytes for name in shard.keys()]  # noqa: SIM118
        assert sum(sizes) <= 2000 or len(sizes) == 1
        alone += [size for size in sizes if size > 2000]
    assert alone == [37 * 15 * 4] * 2 and len(files) > 4
    fresh = llama()
    checkpoint.restore_model(fresh, checkpoint.Saved(folder))
    for name, tensor in sharded.weights(model):
        assert torch.equal(fresh.state_dict()[name], tensor)
    trainer.close()
