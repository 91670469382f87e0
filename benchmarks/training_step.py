"""What a training step costs against a bare torch loop, and the loader against the step.

    python benchmarks/training_step.py [--rounds 5] [--threads 2] [--tokens 512] [SIZE ...]

Trains models of 2M and 36M parameters in float32 on the same packed micro-batches: with a plain
loop (forward, cross-entropy, backward, clipping, torch's fused AdamW) and with the Trainer at ZeRO
stages 0 to 3, in one process, in turns, the order reversed every other round. Prints a Markdown
table: the median step of a round's turns, as seconds and as a ratio to the bare loop's of the same
round. The last column is how often the loader alone makes a step's batch in the bare loop's time.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from resources.execution import Execution
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.recipe.sections.base import Optimizer
from resources.training.data.examples import Batches, Examples, plan_steps, singles
from resources.training.fit import language_model_loss
from resources.training.loop.measuring import Batch
from resources.training.loop.optimizer import adamw
from resources.training.loop.trainer import Trainer

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "2M": {
        "vocab_size": 512,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    },
    "36M": {
        "vocab_size": 10240,
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
}
TURNS = {"2M": 5, "36M": 1}  # steps in a row, whose median counts
OPTIMIZER = Optimizer(
    learning_rate=1e-4,
    schedule="constant",
    warmup_ratio=0.0,
    min_learning_rate=0.0,
    weight_decay=0.1,
    betas=[0.9, 0.95],
    gradient_clipping=1.0,
)
STAGES = range(4)


def batches_of(vocabulary: int, tokens: int, steps: int) -> Batches:
    """Documents of 10 to 120 random tokens; a step is one packed row of about `tokens`."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(10, 121, tokens * steps // 60)
    examples = Examples.from_lists(
        [(draw.integers(0, vocabulary, n).tolist(), [True] * int(n)) for n in lengths]
    )
    units = singles(examples)
    plan = plan_steps(lengths, tokens, 0, epochs=1)
    return Batches(examples, units, plan, 2 * tokens)


def bare(model: torch.nn.Module) -> Callable[[Batch], None]:
    """A step as one writes it without any library."""
    adam = adamw(OPTIMIZER, model)
    model.train()

    def step(batch: Batch) -> None:
        output = model(
            batch["input_ids"],
            position_ids=batch["position_ids"],
            document_ids=batch["document_ids"],
        )
        losses = F.cross_entropy(
            output.logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum"
        )
        loss = losses / batch["total"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.gradient_clipping)
        adam.step()
        adam.zero_grad()
        loss.item()

    return step


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(size: str, rounds: int, tokens: int, threads: int, folder: Path) -> list[str]:
    """The cells of a model's row."""
    torch.manual_seed(0)
    model = HeterogeneousDecoderForCausalLM(
        HeterogeneousDecoderConfig(**SHAPES[size], tie_word_embeddings=False)
    )
    count = sum(p.numel() for p in model.parameters())
    turns = TURNS[size]
    feed = batches_of(SHAPES[size]["vocab_size"], tokens, 64)
    made = [feed(number) for number in range(len(feed.steps))]
    plain = bare(copy.deepcopy(model))
    trainers = {
        stage: Trainer(
            copy.deepcopy(model),
            OPTIMIZER,
            10_000,
            folder / f"{size}_{stage}",
            0,
            Execution(threads=threads, zero_stage=stage),
        )
        for stage in STAGES
    }

    def step(stage: int | None, at: int) -> None:
        batches = made[at % len(made)]
        if stage is not None:
            trainers[stage].update(batches, language_model_loss)
            return
        for batch in batches:
            plain(batch)

    def turn(stage: int | None, first: int) -> float:
        spent = [seconds(partial(step, stage, first + more)) for more in range(turns)]
        return statistics.median(spent)

    order: list[int | None] = [None, *STAGES]
    times: dict[int | None, list[float]] = {stage: [] for stage in order}
    for number in range(-1, rounds):
        for stage in order if number % 2 else reversed(order):
            spent = turn(stage, (number + 1) * turns)
            if number >= 0:  # the first round warms up
                times[stage].append(spent)
    loading = statistics.median(
        seconds(partial(feed, at)) for at in range(min(50, len(feed.steps)))
    )
    for trainer in trainers.values():
        trainer.close()
    base = statistics.median(times[None])
    cells = [size, f"{count / 1e6:.1f}M", f"{base * 1000:.1f}"]
    for stage in STAGES:
        ratios = [a / b for a, b in zip(times[stage], times[None], strict=True)]
        ends = f"{min(ratios):.2f} to {max(ratios):.2f}"
        cells.append(f"**{statistics.median(ratios):.2f}** ({ends})")
    return [*cells, f"{loading * 1000:.2f}", f"{base / loading:.0f}x"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", default=list(SHAPES), metavar="SIZE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=512)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(arguments.threads))
    torch.set_num_threads(arguments.threads)
    machine = platform.processor() or platform.machine()
    print(
        f"{machine}, {arguments.threads} threads, float32, {arguments.tokens} tokens a step, "
        f"{arguments.rounds} rounds, torch {torch.__version__}\n"
    )
    heads = ["model", "parameters", "bare ms"]
    heads += [f"ZeRO {stage} / bare" for stage in STAGES] + ["loader ms", "loader rate"]
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    with tempfile.TemporaryDirectory() as folder:
        for size in arguments.sizes:
            cells = measure(
                size, arguments.rounds, arguments.tokens, arguments.threads, Path(folder)
            )
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
