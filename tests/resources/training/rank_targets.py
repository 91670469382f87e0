"""What the tests run on several ranks, and the tiny models and batches that they share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resources.execution import Execution
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.training import objectives
from resources.training.data.packing import collate_packed, with_total
from resources.training.distilling import in_chunks
from resources.training.fit import head_of
from resources.training.loop.trainer import Trainer
from resources.training.ranks import runtime
from tests.resources.training.sections import optimizer
from warehouse.artifact import Artifact, Output

VOCABULARY = 37  # odd, so that no rank's share comes out even
CONFIG = optimizer(
    learning_rate=1e-2, schedule="cosine", warmup_ratio=0.2, weight_decay=0.1, gradient_clipping=0.5
)
STEPS = 6


def llama(**shape: Any) -> HeterogeneousDecoderForCausalLM:
    """Two random layers, the second one with a no-op attention unless `layers` says otherwise."""
    torch.manual_seed(3)
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 15,
        "head_dim": 4,
        "intermediate_size": 21,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    return HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**{**sizes, **shape}))


def batch_of(step: int, rows: int = 3) -> list[dict[str, Any]]:
    """Micro-batches of unequal widths, each a packed row of two documents, some tokens ignored."""
    generator = torch.Generator().manual_seed(step)
    made = []
    for row in range(rows):
        lengths = [5 + row, 9 - row]
        examples = [
            (
                torch.randint(0, VOCABULARY, (n,), generator=generator).tolist(),
                (torch.rand(n, generator=generator) > 0.3).tolist(),
            )
            for n in lengths
        ]
        made.append(collate_packed(examples, [[0, 1]], sum(lengths) + row, 0))
    return with_total(made)


def objective(module: nn.Module, batch: dict[str, Any]) -> objectives.Loss:
    """Cross-entropy on a packed micro-batch."""
    output = module(
        batch["input_ids"], position_ids=batch["position_ids"], document_ids=batch["document_ids"]
    )
    return objectives.cross_entropy(
        output.logits, batch["labels"], batch["weights"], batch["total"]
    )


def chunked_objective(module: nn.Module, batch: dict[str, Any]) -> objectives.Loss:
    """The same, logits of four tokens at once: ranks have unequal numbers of such chunks."""
    states = module(
        batch["input_ids"],
        position_ids=batch["position_ids"],
        document_ids=batch["document_ids"],
        output_hidden_states=True,
        output_logits=False,
    ).hidden_states[-1]
    head = head_of(module)

    def term(state: torch.Tensor, label: torch.Tensor, weight: torch.Tensor) -> objectives.Loss:
        return objectives.cross_entropy(head(state), label, weight, batch["total"])

    return in_chunks(term, batch["weights"], 4, states, batch["labels"])


def spread_small_parameters() -> None:
    """Stage 3 keeps parameters below 100,000 elements whole: here it must spread all."""
    config = runtime.engine_config

    def engine_config(stage: int, *arguments: Any) -> dict[str, Any]:
        made = config(stage, *arguments)
        if stage == 3:
            made["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return made

    vars(runtime)["engine_config"] = engine_config


def train_some(
    folder: str,
    execution: Execution,
    until: int = STEPS,
    rows: int = 3,
    save_at: tuple[int, ...] = (),
    reset_at: tuple[int, ...] = (),
    rewind_at: tuple[int, ...] = (),
    shape: dict[str, Any] | None = None,
    chunked: bool = False,
) -> dict[str, Any]:
    """Train from the last checkpoint in `folder` up to `until`; losses, weights, held-out loss."""
    spread_small_parameters()
    loss = chunked_objective if chunked else objective
    model = llama(**(shape or {}))
    trainer = Trainer(model, CONFIG, STEPS, Path(folder), 5, execution)
    started, losses = trainer.step, []
    while trainer.step < until:
        found = trainer.update(batch_of(trainer.step, rows), loss)
        losses.append([found["loss"], found["gradient_norm"]])
        if trainer.step in save_at:
            trainer.save({"at": trainer.step})
        if trainer.step in reset_at:
            trainer.reset_optimizer()
        if trainer.step in rewind_at:
            rewind_at = ()
            trainer.rewind()
    held_out = trainer.evaluate(batch_of(99, rows), loss)
    trainer.close()
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {
        "started": started,
        "state": trainer.state,
        "losses": losses,
        "weights": weights.tolist(),
        "held_out": held_out["loss"],
        "ranks": trainer.world_size,
    }


def several(folder: str, runs: list[dict[str, Any]], execution: Execution) -> list[Any]:
    """Several trainings in one process each, one after the other: starting a rank takes seconds."""
    found = []
    for each in runs:
        settings = Execution(threads=1, **each.pop("execution", {}))
        found.append(train_some(str(Path(folder) / each.pop("folder")), settings, **each))
    return found


def looped(folder: str, execution: Execution) -> dict[str, Any]:
    """The training loop with a checkpoint whenever some time has passed, on clocks that differ."""
    from resources.training.loop.loop import train

    trainer = Trainer(llama(), CONFIG, STEPS, Path(folder), 5, execution)
    saves: list[int] = []
    save = trainer.save

    def noted(*arguments: Any) -> None:
        saves.append(trainer.step)
        save(*arguments)

    vars(trainer)["save"] = noted

    def slowly(step: int) -> list[dict[str, Any]]:
        time.sleep(0.01 if trainer.rank else 0.002 * step)
        return batch_of(step)

    table = train(trainer, slowly, objective, save_every_seconds=0.02)
    said = runtime.texts(str(saves), trainer.device)
    trainer.close()
    losses = [row["value"] for row in table.to_pylist() if row["metric"] == "loss"]
    return {"losses": losses, "saves": said, "folder": str(trainer.folder)}


def fail(rank: int, how: str, execution: Execution) -> str:
    """Rank `rank` raises or is killed; the others wait for it."""
    execution.progress("waiting", 0.5)
    if int(os.environ["RANK"]) == rank:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError(f"row 7\nof {how} is wrong")
    time.sleep(120)
    return "unreachable"


def sleep(folder: str, execution: Execution) -> None:
    """Says which process it is, and then does nothing for long."""
    (Path(folder) / f"pid_{os.environ['RANK']}").write_text(str(os.getpid()))
    time.sleep(120)


def meet(execution: Execution) -> dict[str, Any]:
    """The sum of all ranks, from the first one; the others end before it."""
    from resources.training.ranks.launch import first_goes_on

    runtime.bring_up("cpu", execution.threads)
    total = torch.tensor(float(os.environ["RANK"]))
    torch.distributed.all_reduce(total)
    execution.progress("met", 1.0)
    first_goes_on()
    return {"sum": float(total), "threads": execution.threads}


def artifact(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """A build function: trains, on several ranks where it is asked to, and writes what it has."""
    import pyarrow as pa

    from resources.training.ranks import launch, ranked

    if launch.several(execution):
        return ranked.build(f"{__name__}:artifact", workdir, inputs, recipe, execution)
    (workdir / "own").touch(exist_ok=False)  # no other rank works in this folder
    start = inputs["start"].table("numbers")["n"].to_pylist()
    found = train_some(str(workdir), execution, rows=start[0])
    launch.first_goes_on()
    model = workdir / "model"
    model.mkdir(exist_ok=False)
    (model / "weights.txt").write_text("w")
    return Output(
        tables={
            "losses": pa.table({"loss": [loss for loss, _ in found["losses"]]}),
            "streamed": pa.table({"n": [1, 2]}).to_reader(1),
        },
        files={"": model},
        metrics={"held_out": found["held_out"]},
        observations={"ranks": found["ranks"]},
        images={"curve": b"png"},
    )
