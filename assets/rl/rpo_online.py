"""Online RPO: every step samples from the current policy, scores, pairs the extremes and updates.

An iteration starts from the checkpoint before it, which stays its reference until the iteration
ends, and has a fresh optimizer.
Source: arXiv 2505.00949 section 6.2 (Super: two iterations against a reward model).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from assets.rl import rollouts
from assets.rl.batches import response_logprobs
from assets.rl.experience import Experience
from assets.rl.grpo import check_engine
from assets.rl.rollouts import Rollout
from assets.rl.rpo import TrainingPair, micro_batches, rpo_loss, with_reference
from assets.rl.slots import Slot, plan_slots
from resources.chat.chat import Chat
from resources.engines.protocol import Sampling
from resources.engines.transformers import TransformersEngine
from resources.models import loading
from resources.models.precision import Precision
from resources.recipe.sections.base import Optimizer
from resources.training.loop.trainer import Trainer
from resources.verifiers.extremes import extremes
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def train_rpo_online(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """Train `inputs["model"]` for the recipe's rounds (iterations) of `steps` updates each.

    A step asks `prompts_per_step` prompts `samples` times; the best and the worst response by
    `inputs["reward_model"]` make a pair. Resumes at the last saved step of the last iteration.
    """
    plan = plan_slots(inputs, recipe)
    steps = int(recipe["steps"])
    experience = Experience(workdir, recipe, execution.save_every_seconds)
    source = inputs["model"].path()
    for number in range(len(recipe["rounds"])):
        folder = workdir / f"round_{number}"
        first = number * steps
        if (folder / "checkpoint").is_dir():
            experience.resume(first + steps)
        else:
            iteration = Iteration(folder, source, first, inputs, recipe, execution)
            model = iteration.run(plan[first : first + steps], experience)
            loading.publish(model, folder / "checkpoint", source)
        source = folder / "checkpoint"
    return experience.output(source)


class Iteration:
    """One iteration of online RPO, from `source` to a trained model."""

    def __init__(
        self,
        folder: Path,
        source: Path,
        first: int,
        inputs: Mapping[str, Artifact],
        recipe: Mapping[str, Any],
        execution: Execution,
    ) -> None:
        self.first, self.recipe, self.execution = first, recipe, execution
        self.rows = execution.micro_batch
        self.version = inputs["model"].data_version[:16]
        device = execution.device
        self.chat = Chat.load(source)
        frozen = Precision.of(recipe, device).weights(source)
        self.reference = loading.load(source, device=device, dtype=frozen).requires_grad_(False)
        scorer = inputs["reward_model"].path()
        self.rewarder = rollouts.model_reward(scorer, self.chat, device, frozen)
        self.model = loading.load(source, dtype="float32")
        self.trainer = Trainer(
            self.model,
            Optimizer.within(recipe),
            int(recipe["steps"]),
            folder / "trainer",
            recipe["seed"],
            execution,
            recipe.get("dtype"),
        )
        self.sampling = Sampling(
            temperature=recipe["temperature"],
            top_p=recipe["top_p"],
            max_new_tokens=recipe["max_new_tokens"],
            seed=recipe["seed"],
        )

    def run(self, plan: Sequence[Sequence[Slot]], experience: Experience) -> Any:
        """The remaining steps; returns the trained model."""
        begin = experience.resume(self.first + self.trainer.step) - self.first
        for step in range(begin, len(plan)):
            version = f"{self.version}+{self.first + step}"
            made, pairs, error = self._sample(plan[step], version)
            metrics = {
                **rollouts.summary(made),
                "pairs": float(len(pairs)),
                "engine_error": error,
            }
            metrics |= self.trainer.update(
                micro_batches(pairs, self.rows), functools.partial(rpo_loss, recipe=self.recipe)
            )
            done = self.first + step + 1
            experience.add(done - 1, made, version, done, metrics)
            experience.save(self.trainer, last=step + 1 == len(plan))
            total = len(self.recipe["rounds"]) * len(plan)
            self.execution.progress(f"step {done}/{total}", done / total)
        self.trainer.close()
        return self.model

    def _sample(
        self, slots: Sequence[Slot], version: str
    ) -> tuple[list[Rollout], list[TrainingPair], float]:
        engine = TransformersEngine(
            self.model,
            self.chat,
            version,
            batch_size=self.execution.generation_batch,
            threads=self.execution.threads,
        )
        made = rollouts.collect(
            engine,
            slots,
            self.recipe["samples"],
            self.sampling,
            self.rewarder,
        )
        made, unasked = rollouts.apart(made)
        made = rollouts.with_advantages(made, "dr_grpo")
        chosen = extremes([one.reward for one in made], [one.group for one in made])
        # With every score tied the step holds one tied pair, whose target is a margin of 0.
        chosen = chosen or [(0, 1)]
        error = self._engine_error(made[chosen[0][0]])
        pairs = with_reference(
            self.reference,
            [(made[best].tokens, made[worst].tokens) for best, worst in chosen],
            [(_reward(made[best]), _reward(made[worst])) for best, worst in chosen],
            self.rows,
        )
        return [*made, *unasked], pairs, error

    def _engine_error(self, one: Rollout) -> float:
        """Compare trainer and engine on one response of the step."""
        trainer = response_logprobs(self.model, [one.tokens], 1)[0]
        return check_engine(trainer, torch.tensor(one.engine_logprobs))


def _reward(one: Rollout) -> float:
    if one.reward is None:
        raise ValueError("a response without a reward cannot be paired")
    return one.reward
