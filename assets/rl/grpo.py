"""Policy-gradient training on rollouts of the current policy: GRPO and RLOO in one loop.

Each step samples responses from the model being trained, rewards them (by verifier or by reward
model) and makes one or more optimizer updates. It stops when trainer and engine disagree about the
log-probabilities, which is how stale weights and wrong masks show themselves.
Sources: GRPO, Shao et al. 2024 section 4.1; RLOO, Ahmadian et al. 2024; recipe, arXiv 2505.00949
sections 5 and 6.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from assets.rl import batches, rollouts
from assets.rl.experience import Experience
from assets.rl.rollouts import Rollout
from assets.rl.slots import plan_slots
from resources.chat.chat import Chat
from resources.engines.protocol import Sampling
from resources.engines.transformers import TransformersEngine
from resources.models import loading
from resources.models.precision import Precision
from resources.recipe.sections.base import Optimizer
from resources.training.loop.trainer import Trainer
from resources.training.objectives import IGNORE, Loss, policy
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

# A bf16 engine differs from its trainer by about 0.015 nats a token; 0.2 meant weights that were
# never synchronised (TRL issue 5312).
LARGEST_ENGINE_ERROR = 0.05


class EngineMismatchError(RuntimeError):
    """Trainer and engine disagree about the log-probabilities of sampled tokens."""


def train_policy_gradient(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """Train `inputs["model"]` on `inputs["prompts"]` for `steps` x `updates_per_rollout` updates.

    `recipe["method"]` is `grpo` (token-mean loss, KL to the starting checkpoint in the loss) or
    `rloo` (whole-response log-probabilities, KL in the reward). Rewards come from the verifiers, or
    from `inputs["reward_model"]` where it is given. Resumes at the last saved rollout boundary, on
    which nothing is pending, so a resumed run equals an undisturbed one.
    """
    start = inputs["model"]
    device = execution.device
    chat = Chat.load(start.path())
    plan = plan_slots(inputs, recipe)
    updates = int(recipe["updates_per_rollout"])
    model = loading.load(start.path(), dtype="float32")
    trainer = Trainer(
        model,
        Optimizer.within(recipe),
        len(plan) * updates,
        workdir / "trainer",
        recipe["seed"],
        execution,
        recipe.get("dtype"),
    )
    reference, frozen = None, Precision.of(recipe, device).weights(start.path())
    if recipe["kl_beta"]:
        reference = loading.load(start.path(), device=device, dtype=frozen).requires_grad_(False)
    if "reward_model" in inputs:
        rewarder = rollouts.model_reward(inputs["reward_model"].path(), chat, device, frozen)
    else:
        rewarder = rollouts.verifier_reward(recipe["reward"])
    sampling = Sampling(
        temperature=recipe["temperature"],
        top_p=recipe["top_p"],
        max_new_tokens=recipe["max_new_tokens"],
        seed=recipe["seed"],
    )
    experience = Experience(workdir, recipe, execution.save_every_seconds)
    learner = Learner(trainer, reference, recipe, execution.micro_batch)
    for step in range(experience.resume(trainer.step // updates), len(plan)):
        version = f"{start.data_version[:16]}+{trainer.step}"
        engine = TransformersEngine(
            model,
            chat,
            version,
            batch_size=execution.generation_batch,
            threads=execution.threads,
        )
        made = rollouts.collect(engine, plan[step], recipe["samples"], sampling, rewarder)
        made, metrics = learner.learn(made)
        experience.add(step, made, version, trainer.step, metrics)
        experience.save(trainer, last=step + 1 == len(plan))
        execution.progress(f"step {step + 1}/{len(plan)}", (step + 1) / len(plan))
    trainer.close()
    folder = workdir / "checkpoint"
    loading.publish(model, folder, start.path())
    return experience.output(folder)


class Learner:
    """Turns a step's rollouts into advantages and optimizer updates."""

    def __init__(
        self,
        trainer: Trainer,
        reference: torch.nn.Module | None,
        recipe: Mapping[str, Any],
        rows: int,
    ) -> None:
        self.trainer, self.reference, self.recipe, self.rows = trainer, reference, recipe, rows
        self.rloo = recipe["method"] == "rloo"
        self.clip = (float(recipe["clip"][0]), float(recipe["clip"][1]))
        self.kl_in_loss = 0.0 if self.rloo else float(recipe["kl_beta"])

    def learn(self, made: list[Rollout]) -> tuple[list[Rollout], dict[str, float]]:
        """Advantages, then one update for each part of the rollouts. Returns both, with metrics."""
        made, unasked = rollouts.apart(made)
        tokens = [one.tokens for one in made]
        reference: list[Tensor] | None = None
        metrics: dict[str, float] = {}
        if self.reference is not None:
            reference = batches.response_logprobs(self.reference, tokens, self.rows)
            drift = [
                float(torch.tensor(one.engine_logprobs).sum() - other.sum())
                for one, other in zip(made, reference, strict=True)
            ]
            metrics["kl_to_reference"] = sum(drift) / len(drift)
            if self.rloo:
                made = _penalised(made, drift, self.recipe["kl_beta"])
        made = rollouts.with_advantages(made, "rloo" if self.rloo else "grpo")
        metrics |= rollouts.summary([*made, *unasked])

        parts = self._parts(made)
        # The first part is updated by the very policy that sampled it; later ones need its record.
        later = [index for part in parts[1:] for index in part]
        old = dict(
            zip(
                later,
                batches.response_logprobs(
                    self.trainer.model, [tokens[index] for index in later], self.rows
                ),
                strict=True,
            )
        )
        for number, part in enumerate(parts):
            step = self.trainer.update(
                self._micro_batches(made, part, old if number else None, reference),
                functools.partial(
                    policy_loss, clip=self.clip, beta=self.kl_in_loss, rloo=self.rloo
                ),
            )
            for name, value in step.items():
                metrics[name] = metrics.get(name, 0.0) + value / len(parts)
        return [*made, *unasked], metrics

    def _parts(self, made: Sequence[Rollout]) -> list[list[int]]:
        """The rollouts in `updates_per_rollout` consecutive parts of equal size."""
        count = int(self.recipe["updates_per_rollout"])
        bounds = [len(made) * number // count for number in range(count + 1)]
        return [list(range(a, b)) for a, b in itertools.pairwise(bounds)]

    def _micro_batches(
        self,
        made: Sequence[Rollout],
        part: Sequence[int],
        old: Mapping[int, Tensor] | None,
        reference: Sequence[Tensor] | None,
    ) -> list[dict[str, Any]]:
        """Padded batches of a part; `total` counts all of its rewarded responses.

        Without a KL term a response with advantage 0 adds nothing to loss or gradient, so it is not
        computed; one is always kept, because the optimizer must step.
        """
        rewarded = [index for index in part if made[index].reward is not None]
        used = [i for i in rewarded if self.kl_in_loss or made[i].advantage != 0]
        used = used or sorted(part, key=lambda index: len(made[index].tokens))[:1]
        response_tokens = sum(len(made[index].tokens.response) for index in used)
        found = []
        for chunk in batches.chunks([made[index].tokens for index in used], self.rows):
            members = [used[index] for index in chunk]
            batch = batches.collate([made[index].tokens for index in members])
            labels = batch["labels"]
            batch["advantages"] = torch.tensor([made[index].advantage for index in members])
            batch["engine"] = batches.place([made[i].engine_logprobs for i in members], labels)
            if old is not None:
                batch["old"] = batches.place([old[index] for index in members], labels)
            if reference is not None and self.kl_in_loss:
                batch["reference"] = batches.place([reference[i] for i in members], labels)
            batch["total"] = max(len(rewarded), 1)
            batch["response_tokens"] = response_tokens
            found.append(batch)
        return found


def _penalised(made: Sequence[Rollout], drift: Sequence[float], beta: float) -> list[Rollout]:
    """Rewards less beta x (log pi - log pi_ref) of the whole response."""
    return [
        one if one.reward is None else replace(one, reward=one.reward - beta * value)
        for one, value in zip(made, drift, strict=True)
    ]


def policy_loss(
    model: torch.nn.Module,
    batch: dict[str, Any],
    *,
    clip: tuple[float, float],
    beta: float,
    rloo: bool,
) -> Loss:
    """Clipped policy gradient of a micro-batch; raises EngineMismatchError before any update."""
    logprobs = batches.forward(model, batch)
    mask = batch["labels"] != IGNORE
    old = batch.get("old", logprobs.detach())
    check_engine(old[mask], batch["engine"][mask])
    loss = policy(
        logprobs,
        old,
        batch["advantages"],
        mask,
        batch["total"],
        clip=clip,
        reference_logprobs=batch.get("reference"),
        beta=beta,
        aggregation="token" if rloo else "sequence",
        engine_logprobs=batch["engine"],
    )
    # In nats a token, however the loss is aggregated.
    error = (old - batch["engine"])[mask].abs().sum() / batch["response_tokens"]
    return Loss(loss.loss, {**loss.metrics, "engine_error": error})


def check_engine(trainer: Tensor, engine: Tensor) -> float:
    """Mean absolute difference of the same tokens' log-probabilities, in nats a token.

    Raises EngineMismatchError when it is above `LARGEST_ENGINE_ERROR`.
    """
    error = float((trainer - engine).abs().mean())
    if not error <= LARGEST_ENGINE_ERROR:
        raise EngineMismatchError(
            f"trainer and engine differ by {error:.3f} nats a token, more than "
            f"{LARGEST_ENGINE_ERROR}: the engine does not run the weights that are being trained, "
            "or computes another distribution"
        )
    return error
