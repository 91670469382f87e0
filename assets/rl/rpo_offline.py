"""Offline RPO: rounds of training on preference pairs that were made beforehand.

Each round starts from the checkpoint before it, which is also its reference, and has a fresh
optimizer.
Source: arXiv 2505.00949 section 6.2 (Nano: two rounds with on-policy data).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.rl.batches import Tokens
from assets.rl.rpo import TrainingPair, micro_batches, rpo_loss, with_reference
from assets.rl.slots import passes
from resources.chat.chat import Chat
from resources.models import loading
from resources.models.precision import Precision
from resources.recipe.sections.base import Optimizer
from resources.tasks.drawing import prompt_rows
from resources.training.loop.loop import train
from resources.training.loop.trainer import Trainer
from resources.training.plots import curve
from resources.verifiers.attempts import messages
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

SHOWN = ("rpo_loss", "margin", "preference_accuracy")


def train_rpo_offline(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """Train `inputs["model"]` on the rounds of `inputs["pairs"]`, `steps` updates each.

    Finished rounds stay in `workdir`; the round at hand resumes from the trainer's checkpoint.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = inputs["model"].path()
    histories = []
    for number in range(len(recipe["rounds"])):
        folder = workdir / f"round_{number}"
        if not (folder / "checkpoint").is_dir():
            model, history = _train_round(folder, source, number, inputs, recipe, execution)
            pq.write_table(history, folder / "metrics.parquet")
            # Last, because it marks the round as done.
            loading.publish(model, folder / "checkpoint", source)
        source = folder / "checkpoint"
        histories.append(pq.read_table(folder / "metrics.parquet"))
    table = pa.concat_tables(histories)
    values = {
        name: [row["value"] for row in table.to_pylist() if row["metric"] == name] for name in SHOWN
    }
    steps = list(range(1, len(values["rpo_loss"]) + 1))
    return Output(
        tables={"training_metrics": table},
        files={"": source},
        metrics={
            "preference_accuracy_last": values["preference_accuracy"][-1],
            **{f"{name}_first": series[0] for name, series in values.items()},
            **{f"{name}_last": series[-1] for name, series in values.items()},
        },
        images={"preference": curve(steps, values)},
    )


def _train_round(
    folder: Path,
    source: Path,
    number: int,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> tuple[HeterogeneousDecoderForCausalLM, pa.Table]:
    rows = execution.micro_batch
    frozen = Precision.of(recipe, execution.device).weights(source)
    reference = loading.load(source, device=execution.device, dtype=frozen)
    pairs = _pairs(inputs, number, reference, rows)
    seed = [recipe["seed"], number]
    plan = list(passes(pairs, recipe["steps"], min(recipe["batch_size"], len(pairs)), seed))
    model = loading.load(source, dtype="float32")
    trainer = Trainer(
        model,
        Optimizer.within(recipe),
        recipe["steps"],
        folder / "trainer",
        recipe["seed"],
        execution,
        recipe.get("dtype"),
    )
    history = train(
        trainer,
        lambda step: micro_batches(plan[step], rows),
        functools.partial(rpo_loss, recipe=recipe),
        stage=f"{recipe['stage']}_round_{number + 1}",
        save_every_seconds=execution.save_every_seconds,
    )
    trainer.close()
    return model, history


def _pairs(
    inputs: Mapping[str, Artifact], number: int, reference: Any, rows: int
) -> list[TrainingPair]:
    """The pairs of a round with their reference log-probabilities, in the order they were made."""
    table = inputs["pairs"].table("preferences").to_pylist()
    found = sorted(
        (row for row in table if row["round"] == number), key=lambda row: row["position"]
    )
    if not found:
        raise ValueError(
            f"{inputs['pairs'].key} holds no pair of round {number + 1}: every prompt's responses "
            "scored the same; raise preference.samples or prompts"
        )
    problems = {row["row_id"]: row for row in prompt_rows(inputs["prompts"].table("prompts"))}
    prompts = Chat.load(inputs["model"].path()).prompts(
        [messages(problems[row["problem_id"]]) for row in found],
        [row["reasoning"] for row in found],
    )
    tokens = [
        (Tokens(prompt, row["chosen_ids"]), Tokens(prompt, row["rejected_ids"]))
        for prompt, row in zip(prompts, found, strict=True)
    ]
    rewards = [(row["chosen_reward"], row["rejected_reward"]) for row in found]
    return with_reference(reference, tokens, rewards, rows)
