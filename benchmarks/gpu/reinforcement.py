"""B6: a GRPO step of a small model, its rollouts sampled in bfloat16."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import torch

import resources.models
from assets.rl import rollouts
from assets.rl.grpo import LARGEST_ENGINE_ERROR, Learner
from benchmarks.gpu.part import Outcome, Setup
from benchmarks.gpu.training import OPTIMIZER
from resources.chat.chat import Chat
from resources.engines.protocol import Sampling
from resources.engines.transformers import TransformersEngine
from resources.execution import Execution
from resources.models.loading import load
from resources.tasks.generate import generate
from resources.training.loop.trainer import Trainer
from warehouse.rows import with_ids

BUNDLED = Path(resources.models.__file__).parent / "bundled" / "super"
RECIPE: dict[str, Any] = {
    "method": "grpo",
    "clip": [0.2, 0.28],
    "kl_beta": 0.01,
    "updates_per_rollout": 1,
}


def grpo(setup: Setup) -> Outcome:
    """Two GRPO steps of the bundled Super: 16 problems x 8 answers of up to 96 tokens; the second
    is measured.

    The engine runs a bfloat16 copy of the weights, the trainer computes as usual on this device
    (bfloat16 autocast on a GPU). `engine_error` is the mean |log p of the engine - log p of the
    trainer| of sampled tokens, in nats a token; the step stops by itself above 0.05.
    """
    problems, samples, room = (2, 2, 8) if setup.rehearsal else (16, 8, 96)
    model, chat = load(BUNDLED, device=setup.device, dtype="float32"), Chat.load(BUNDLED)
    reference = copy.deepcopy(model).requires_grad_(False)
    table = generate("math", problems, depths={1: 1.0}, seed=1)
    rows = with_ids(table, "problems/math", ["question"]).to_pylist()
    slots = [(row, "off") for row in rows]
    trainer = Trainer(
        model,
        OPTIMIZER,
        2,
        setup.folder,
        0,
        Execution(device=setup.device, threads=1),
    )
    learner = Learner(trainer, reference, RECIPE, 32)
    reward = rollouts.verifier_reward({"accuracy": 1.0, "format": 0.2})
    for step in range(2):
        began = time.perf_counter()
        engine = TransformersEngine(
            copy.deepcopy(model).to(torch.bfloat16).eval(), chat, f"step {step}"
        )
        made = rollouts.collect(engine, slots, samples, Sampling(1.0, max_new_tokens=room), reward)
        between = time.perf_counter()
        _, metrics = learner.learn(made)
        ended = time.perf_counter()
    trainer.close()
    tokens = sum(len(one.tokens.response) for one in made)
    figures = {
        "engine_error": metrics["engine_error"],
        "generation_seconds": between - began,
        "learning_seconds": ended - between,
        "generation_share": (between - began) / (ended - began),
        "sampled_tokens_per_second": tokens / (between - began),
        "responses": len(made),
    }
    near = metrics["engine_error"] <= LARGEST_ENGINE_ERROR
    return Outcome(figures, {"engine error": near})
