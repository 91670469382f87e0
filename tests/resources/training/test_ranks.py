"""Several processes under a real torchrun: what they return, what they say, who dies with whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from resources.execution import Execution
from resources.training.loop.trainer import Trainer
from resources.training.ranks import launch
from resources.training.ranks.launch import RankError
from resources.training.ranks.sequence_parallel import Team
from tests.resources.training.rank_targets import (
    CONFIG,
    STEPS,
    artifact,
    batch_of,
    llama,
    several,
)
from warehouse.artifact import Output

TARGETS = "tests.resources.training.rank_targets"
TWO = Execution(ranks=2, threads=2)
SHARED = {"hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2}


def test_commands(tmp_path: Path) -> None:
    spec = tmp_path / "ranks.json"
    end = ["-m", "resources.training.ranks.launch", str(spec)]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=4"]
    alone = launch.command(spec, 4, [], 0)
    assert alone == [*start, "--max-restarts=0", "--standalone", *end]
    second = launch.command(spec, 4, ["a:7000", "b"], 1)
    assert second[5:-3] == [
        "--nnodes=2",
        "--node-rank=1",
        "--master-addr=a",
        "--master-port=7000",
        "--rdzv-conf=timeout=3600",
    ]


def test_one_process_needs_no_launcher(tmp_path: Path) -> None:
    found = launch.run(
        f"{TARGETS}:several", {"folder": str(tmp_path), "runs": []}, Execution(), tmp_path
    )
    assert found == [] and not any(tmp_path.iterdir())
    assert not launch.several(Execution(hosts=["here"]))
    with pytest.raises(TypeError, match="must be plain JSON values: Object of type PosixPath"):
        launch.run(f"{TARGETS}:several", {"folder": tmp_path}, TWO, tmp_path)


@pytest.mark.slow
def test_the_first_rank_answers(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    execution = TWO.but(threads=5, progress=lambda *said: told.append(said))
    found = launch.run(f"{TARGETS}:meet", {}, execution, tmp_path)
    assert found == {"sum": 1.0, "threads": 2}
    assert told == [("met", 1.0)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how, said",
    [
        ("raise", "^rank 1: ValueError: row 7 of raise is wrong$"),
        ("kill", "^rank 1 was killed by SIGKILL; see .*ranks.log$"),
    ],
)
def test_a_failing_rank_is_named_in_one_line(tmp_path: Path, how: str, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(RankError, match=said) as error:
        launch.run(f"{TARGETS}:fail", {"rank": 1, "how": how}, TWO, tmp_path)
    assert "\n" not in str(error.value)
    assert (
        time.monotonic() - began < 100
    )  # the other rank, which sleeps for 120, was not waited for


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["driver", "agent"])
def test_ranks_die_with_who_started_them(tmp_path: Path, victim: str) -> None:
    script = (
        "from pathlib import Path; from resources.execution import Execution\n"
        "from resources.training.ranks import launch\n"
        f"launch.run('{TARGETS}:sleep', {{'folder': {str(tmp_path)!r}}}, Execution(ranks=2), "
        f"Path({str(tmp_path)!r}))"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        files = [tmp_path / f"pid_{rank}" for rank in range(2)]
        wait_for(lambda: all(file.is_file() and file.read_text() for file in files))
        ranks = [int(file.read_text()) for file in files]
        agent = parent_of(ranks[0])
        assert parent_of(agent) == driver.pid
        os.kill(driver.pid if victim == "driver" else agent, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in [*ranks, agent]))
        assert driver.wait() == (-signal.SIGKILL if victim == "driver" else 1)
    finally:
        driver.kill()


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """A process that was not yet waited for by its parent is dead all the same."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@pytest.mark.slow
def test_two_hosts_meet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are this machine here: the second one's command is run as an operator would run it."""
    import socket
    import threading

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found: list[Any] = []
    execution = Execution(hosts=[f"127.0.0.1:{port}", "localhost"], threads=1)
    driver = threading.Thread(
        target=lambda: found.append(launch.run(f"{TARGETS}:meet", {}, execution, tmp_path)),
        daemon=True,
    )
    driver.start()
    wait_for((tmp_path / "ranks.log").exists)
    said = capsys.readouterr().err
    assert said.startswith("on localhost, run: ")
    other = subprocess.run(
        said.partition("run: ")[2].split(), stderr=subprocess.DEVNULL, timeout=100, check=False
    )
    driver.join(timeout=100)
    assert other.returncode == 0
    assert found == [{"sum": 1.0, "threads": 1}]


def test_activation_checkpointing_is_bit_equal(tmp_path: Path) -> None:
    runs = [
        {"folder": f"{stage}_{again}", "execution": {"zero_stage": stage, **again}}
        for stage in (0, 3)
        for again in ({}, {"activation_checkpointing": True})
    ]
    plain, again, sharded, sharded_again = several(str(tmp_path), runs, Execution())
    assert again == plain
    assert sharded_again == sharded


def test_activation_checkpointing_keeps_only_the_inputs(tmp_path: Path) -> None:
    """Numbers saved for the backward pass: many without it; with it, a layer's input."""
    saved = {}
    for again in (False, True):
        model = llama()
        settings = Execution(threads=1, activation_checkpointing=again)
        trainer = Trainer(model, CONFIG, STEPS, tmp_path / f"{again}", 5, settings)
        batch = batch_of(0)[0]
        hidden = torch.randn(1, batch["input_ids"].shape[1], 15, requires_grad=True)
        context = model.context(batch["input_ids"], batch["position_ids"], batch["document_ids"])
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.model.layers[0](hidden, context)
        saved[again] = sum(sizes)
        trainer.close()
    assert 0 < saved[True] <= hidden.numel() < saved[False] / 5


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    def trainer(model: torch.nn.Module, **settings: Any) -> None:
        Trainer(model, CONFIG, STEPS, tmp_path, 5, Execution(threads=1, **settings))

    with pytest.raises(ValueError, match="offload_optimizer needs zero_stage 1, 2 or 3"):
        trainer(llama(), offload_optimizer=True)
    with pytest.raises(ValueError, match="Linear holds no decoder"):
        trainer(torch.nn.Linear(2, 2), activation_checkpointing=True)
    with pytest.raises(ValueError, match="sequence_parallel is 2; it must divide the 1 ranks"):
        trainer(llama(), sequence_parallel=2)
    team = Team(1)
    team.size = 2
    with pytest.raises(ValueError, match="layer 0's attention has 3 query and 1 key-value heads"):
        team.join(llama())
    with pytest.raises(ValueError, match="Linear holds no decoder"):
        team.join(torch.nn.Linear(2, 2))


def test_a_share_of_a_micro_batch() -> None:
    team = Team(1)
    team.size, team.place = 2, 1
    batch = batch_of(0)[1]  # 13 tokens and one of padding
    batch = {**batch, "top_k": torch.arange(28).view(1, 14, 2)}
    share = team.share({name: v[:, :13] if hasattr(v, "dim") else v for name, v in batch.items()})
    assert share["input_ids"].tolist() == [[*batch["input_ids"][0, 7:13].tolist(), 0]]
    assert share["labels"][0, -1] == -100 and share["weights"][0, -1] == 0
    assert share["top_k"].shape == (1, 7, 2)
    assert share["document_ids"].shape == (1, 14) and share["document_ids"][0, -1] == -1
    assert share["total"] == batch["total"]
    with pytest.raises(ValueError, match=r"'advantages' has shape \(1,\)"):
        team.share({**batch, "advantages": torch.ones(1)})
    with pytest.raises(ValueError, match="needs packed micro-batches"):
        team.share({"input_ids": batch["input_ids"]})
    # A model that has not joined (a teacher) refuses a share instead of computing nonsense.
    with pytest.raises((RuntimeError, IndexError)):
        llama()(
            share["input_ids"],
            position_ids=share["position_ids"],
            document_ids=share["document_ids"],
        )


@pytest.mark.slow
def test_sequence_parallel_equals_one_rank(tmp_path: Path) -> None:
    """Rows of odd width, documents across the cut, a layer without attention, checkpointing."""
    blocks = [
        {"attention": {"kind": "full", "num_key_value_heads": 2}, "ffn": {"kind": "full"}},
        {"attention": {"kind": "noop"}, "ffn": {"kind": "full"}},
        {"attention": {"kind": "full", "num_key_value_heads": 4}, "ffn": {"kind": "noop"}},
    ]
    shapes = [SHARED, {**SHARED, "num_hidden_layers": 3, "block_configs": blocks}]
    runs: list[dict[str, Any]] = [
        {"folder": f"{number}_{again}", "shape": shape, "execution": {**again, **more}}
        for number, shape in enumerate(shapes)
        for again, more in (
            ({}, {}),
            ({"activation_checkpointing": True}, {"zero_stage": 3}),
        )
    ]
    alone = several(str(tmp_path / "one"), [{**run, "execution": {}} for run in runs], Execution())
    for run in runs:
        run["execution"]["sequence_parallel"] = 2
    shared = launch.run(
        f"{TARGETS}:several", {"folder": str(tmp_path / "two"), "runs": runs}, TWO, tmp_path
    )
    for ours, theirs in zip(shared, alone, strict=True):
        assert ours["ranks"] == 2
        torch.testing.assert_close(
            torch.tensor(ours["losses"]), torch.tensor(theirs["losses"]), rtol=1e-5, atol=0
        )
        torch.testing.assert_close(
            torch.tensor(ours["weights"]), torch.tensor(theirs["weights"]), rtol=0, atol=1e-5
        )
        assert ours["held_out"] == pytest.approx(theirs["held_out"], rel=1e-5)


@pytest.mark.slow
def test_ranks_save_together_whatever_their_clocks_say(tmp_path: Path) -> None:
    found = launch.run(f"{TARGETS}:looped", {"folder": str(tmp_path)}, TWO, tmp_path)
    alone = several(str(tmp_path / "one"), [{"folder": "a"}], Execution())[0]
    assert found["losses"] == pytest.approx([loss for loss, _ in alone["losses"]], rel=1e-6)
    assert len(found["saves"]) == 2 and found["saves"][0] == found["saves"][1] != "[]"


@pytest.mark.slow
def test_a_whole_build_on_two_ranks(tmp_path: Path) -> None:
    import pyarrow as pa

    from warehouse.store import Request, Store

    made = []
    for ranks in (1, 2):
        store = Store(tmp_path / f"{ranks}")

        def start(*_: Any) -> Output:
            return Output(tables={"numbers": pa.table({"n": [3]})})

        inputs = {
            "start": store.build(Request("a/start", None, start, {}, {}, 0, code_version="1"))
        }
        execution = Execution(ranks=ranks, threads=ranks, home=store.home)
        made.append(
            store.build(
                Request("a/b", None, artifact, inputs, {}, 0, code_version="1"), execution=execution
            )
        )
    one, two = made
    assert (one.observations["ranks"], two.observations["ranks"]) == (1, 2)
    assert two.metrics["held_out"] == pytest.approx(one.metrics["held_out"], rel=1e-6)
    losses = [made.table("losses")["loss"].to_pylist() for made in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6) and len(losses[1]) == STEPS
    assert two.table("streamed").equals(one.table("streamed"))
    assert (two.path() / "weights.txt").read_text() == "w" and two.image("curve") == b"png"
