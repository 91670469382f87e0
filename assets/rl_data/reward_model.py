"""Trains the reward model: which of two responses to a prompt is better (Bradley-Terry).

Samples responses from the base checkpoint, ranks them by verdict and toggle, and trains a scalar
head and body on the pairs. Stands for the ready-made reward model of arXiv 2505.00949 section 6.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from assets.rl_data import problem_rows
from assets.rl_data.ranked_pairs import Pair, pair_table, ranked_pairs
from resources.chat.chat import Chat
from resources.engines.opening import open_engine
from resources.engines.protocol import Engine, Sampling
from resources.models import loading, reward
from resources.pretrained.assembling import assemble
from resources.pretrained.checking import read_weights
from resources.recipe.sections.base import Optimizer
from resources.training.data.examples import plan_steps
from resources.training.loop.loop import train
from resources.training.loop.trainer import Trainer
from resources.training.objectives import Loss, bradley_terry
from resources.training.plots import curve
from resources.verifiers import attempts
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

HELD_OUT = 8  # one problem in eight measures the reward model and is not trained on


def train_reward_model(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """Reward model initialised from `inputs["model"]`; key metric: accuracy on held-out pairs."""
    base = inputs["model"]
    engine = open_engine(
        base, base.data_version, execution, recipe.get("dtype"), role="preferences"
    )
    made, generations, verdicts = _answers(engine, inputs, recipe)
    found = ranked_pairs(made, lambda text: engine.chat.texts([text])[0])
    sequences = encode(engine.chat, found)
    fits = [max(len(a), len(b)) <= recipe["sequence_length"] for a, b in sequences]
    kept = [pair for pair, fit in zip(found, fits, strict=True) if fit]
    sequences = [pair for pair, fit in zip(sequences, fits, strict=True) if fit]
    held = [pair.prompt.problem["row_id"][0] % HELD_OUT == 0 for pair in kept]
    training = [pair for pair, out in zip(sequences, held, strict=True) if not out]
    if not training:
        raise ValueError(
            f"{recipe['asset_key']}: no pair to train on: {len(made)} responses of {base.key} gave "
            f"{len(found)} pairs, {len(kept)} within {recipe['sequence_length']} tokens; "
            "raise reward_model.prompts or samples, or max_new_tokens"
        )

    model, metrics_table = _trained(base, training, recipe, workdir, execution)
    folder = workdir / "checkpoint"
    reward.save(model, folder, base.path())
    table = pair_table(
        kept,
        recipe["asset_key"],
        [1.0] * len(kept),
        [0.0] * len(kept),
        split=["held_out" if out else "train" for out in held],
    )
    losses = metrics_table.filter(np.array(metrics_table["metric"]) == "loss")["value"].to_pylist()
    return Output(
        tables={
            "preferences": table,
            "generations": generations,
            "verdicts": verdicts,
            "training_metrics": metrics_table,
        },
        files={"": folder},
        metrics={
            **_accuracy(model, kept, sequences, held),
            "pairs": float(len(kept)),
            "too_long": float(len(found) - len(kept)),
            "loss_first": losses[0],
            "loss_last": losses[-1],
        },
        observations={"requests": attempts.usage(engine)},
        images={"loss": curve(list(range(1, len(losses) + 1)), {"loss": losses})},
    )


def _answers(
    engine: Engine, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any]
) -> tuple[list[attempts.Attempt], pa.Table, pa.Table]:
    """The base model's responses with and without thinking, and their two tables."""
    base = inputs["model"]
    sampling = Sampling(
        temperature=recipe["temperature"],
        top_p=recipe["top_p"],
        max_new_tokens=recipe["max_new_tokens"],
        seed=recipe["seed"],
    )
    problems = problem_rows.draw_evenly(
        inputs, recipe["domains"], recipe["prompts"], recipe["seed"]
    )
    prompts = [
        prompt
        for mode in ("on", "off")
        for prompt in attempts.every(problems, mode, recipe["samples"])
    ]
    made = attempts.attempt(engine, prompts, sampling)
    tables = attempts.tables(made, recipe["asset_key"], base.key, base.data_version, sampling)
    return made, *tables


def _trained(
    base: Artifact,
    training: Sequence[tuple[list[int], list[int]]],
    recipe: Mapping[str, Any],
    workdir: Path,
    execution: Execution,
) -> tuple[reward.RewardModel, pa.Table]:
    """The base model with a scalar head after training on the pairs, and the steps' metrics."""
    torch.manual_seed(recipe["seed"])
    model = reward.RewardModel(loading.load(base.path(), dtype="float32"))
    batches = plan_steps(
        [len(a) + len(b) for a, b in training],
        recipe["batch_tokens"],
        recipe["seed"],
        tokens=recipe["tokens"],
        epochs=recipe["epochs"],
    )
    trainer = Trainer(
        model,
        Optimizer.within(recipe),
        len(batches),
        workdir / "trainer",
        recipe["seed"],
        execution,
        recipe.get("dtype"),
    )
    micro = max(1, execution.micro_batch // 2)

    def batch_of(step: int) -> list[dict[str, Any]]:
        return _micro_batches([training[index] for index in batches[step]], micro)

    metrics_table = train(
        trainer,
        batch_of,
        pair_loss,
        stage="reward_model",
        save_every_seconds=execution.save_every_seconds,
    )
    trainer.close()
    return model, metrics_table


def encode(chat: Chat, made: Sequence[Pair]) -> list[tuple[list[int], list[int]]]:
    """Token ids of (prompt + chosen, prompt + rejected), each closed by the stop token.

    Sampled tokens are taken as they are: text is never tokenised again.
    """
    prompts = chat.prompts(
        [attempts.messages(pair.prompt.problem) for pair in made],
        [pair.prompt.reasoning for pair in made],
    )
    return [
        (
            attempts.closed(chat, prompt, pair.chosen.token_ids),
            attempts.closed(chat, prompt, pair.rejected.token_ids),
        )
        for prompt, pair in zip(prompts, made, strict=True)
    ]


def _micro_batches(batch: Sequence[tuple[list[int], list[int]]], size: int) -> list[dict[str, Any]]:
    ordered = sorted(batch, key=lambda pair: max(len(pair[0]), len(pair[1])))
    micro_batches = []
    for start in range(0, len(ordered), size):
        chunk = ordered[start : start + size]
        ids, lengths = reward.pad([a for a, _ in chunk] + [b for _, b in chunk])
        micro_batches.append(
            {
                "input_ids": ids,
                "lengths": lengths,
                "total": len(batch),
                "tokens": int(lengths.sum()),
            }
        )
    return micro_batches


def pair_loss(model: torch.nn.Module, batch: dict[str, Any]) -> Loss:
    """`bradley_terry` of a micro-batch: rows are first all chosen, then all rejected sequences."""
    chosen, rejected = model(batch["input_ids"], batch["lengths"]).chunk(2)
    return bradley_terry(chosen, rejected, batch["total"])


def _accuracy(
    model: reward.RewardModel,
    made: Sequence[Pair],
    sequences: Sequence[tuple[list[int], list[int]]],
    held: Sequence[bool],
) -> dict[str, float]:
    """Share of held-out pairs ranked right, overall and by kind (absent kinds are left out)."""
    chosen = reward.score(model, [a for (a, _), out in zip(sequences, held, strict=True) if out])
    rejected = reward.score(model, [b for (_, b), out in zip(sequences, held, strict=True) if out])
    kinds = [pair.kind for pair, out in zip(made, held, strict=True) if out]
    right = [a > b for a, b in zip(chosen, rejected, strict=True)]
    metrics = {
        "held_out_pair_accuracy": sum(right) / max(len(right), 1),
        "held_out_pairs": float(len(right)),
    }
    for kind in sorted(set(kinds)):
        hits = [hit for hit, name in zip(right, kinds, strict=True) if name == kind]
        metrics[f"{kind}_accuracy"] = sum(hits) / len(hits)
    return metrics


def use_pretrained(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """The reward model that the recipe names, unchanged: a folder with `reward_head.safetensors`.

    Raises CheckpointError when it is none that this project can score with.
    """
    found = assemble(execution.model, workdir)
    with found.naming():
        read_weights(found.folder, found.digests)
    reward.load(found.folder)
    return Output(files=found.contents(), observations=found.facts)
